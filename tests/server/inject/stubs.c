/*
 * Lets calls that vector_search makes fail: functions of the server raise an error, and allocations return
 * nothing. Loaded into a backend, it loads vector_search and writes the addresses of stubs into its global offset
 * table. A stub counts its call, then lets it fail or goes on to the function.
 *
 * The file `control` beside this library says what fails. The test writes it while the backend is idle, so that
 * only the calls of one statement are counted.
 */
#define _GNU_SOURCE
#include "postgres.h"

#ifndef __x86_64__
#error "the stubs are written for x86-64"
#endif

#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/tableam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/buf_internals.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

/* What is counted, and fails. */
enum { NOTHING, CALLS, ALLOCATIONS };

/* The file `control`. */
typedef struct Control
{
    uint32 what;
    /* Not 0: all further ones fail, too. */
    uint32 lasting;
    /* The number of the first that fails; 0: none does, they are counted. */
    uint64 first;
    /* A second one fails, so many later; 0: none. */
    uint64 second;
    /* Not 0: the path of each call is noted in `paths`. */
    uint64 trace;
    uint64 count;
    uint64 failed;
    /* Blocks of the allocator of C that vector_search holds. */
    int64 live;
    /* The function that has failed last. */
    char name[64];
} Control;

/* After the first page of the file: for each call that was counted a number of the way from which it was made. */
#define PATHS_AT 4096
#define MOST_PATHS (1 << 20)
static volatile uint32 *paths;

static volatile Control *control;

/* How a function fails. */
typedef enum { RAISES, RAISES_NO_MEMORY, RETURNS_NULL, RETURNS_ENOMEM, GIVES_BACK, MASKS_SIGNALS } Failure;

typedef struct Slot
{
    void *target;
    const char *name;
    Failure failure;
    /* The address is known to the server, too: only calls from vector_search count. */
    bool shared;
} Slot;

/*
 * Functions that raise no error where vector_search calls them. Each group has its reason, from PostgreSQL's
 * source. Whatever is not here may raise one: at least for want of memory, which nearly all functions allocate.
 */
static const char *const cannot_raise[] = {
    /* elog.c: what makes and ends a report. An error in it is counted by elog.c itself (recursion_depth), and
     * its memory is kept in reserve (ErrorContext). */
    "errstart", "errstart_cold", "errcode", "errmsg", "errmsg_internal", "errdetail", "errhint", "errcontext_msg",
    "errfinish", "FlushErrorState", "FreeErrorData", "message_level_is_interesting", "pg_re_throw",
    /* mcxt.c, aset.c: memory that is given back, and what is known of it. Nothing is allocated. Their only errors
     * are those of an overwritten header. */
    "pfree", "list_free", "list_free_deep", "bms_free", "guc_free", "GetMemoryChunkContext",
    "MemoryContextGetParent", "MemoryContextDelete", "MemoryContextReset",
    /* bufmgr.c, lwlock.c: content locks and pins that this backend holds or may take. Their errors are those of a
     * wrong buffer number or mode, of a lock that is not held, and of 200 locks held at once. */
    "LockBuffer", "LockBufferInternal", "UnlockBuffer", "UnlockReleaseBuffer", "ReleaseBuffer",
    "ConditionalLockBuffer", "MarkBufferDirty", "BufferGetBlockNumber", "LWLockRelease",
    /* lmgr.c, lock.c: locks that are given back. A lock that is not held is a warning. */
    "UnlockRelation", "UnlockRelationForExtension", "UnlockTuple",
    /* relcache.c, catcache.c, snapmgr.c, tupdesc.c: references that are given back. The only error is that of a
     * reference that is not there. */
    "RelationClose", "relation_close", "table_close", "index_close", "ReleaseSysCache", "ReleaseCatCacheList",
    "DecrTupleDescRefCount", "FreeTupleDesc", "UnregisterSnapshot",
    /* xact.c: the abort of a subtransaction. It raises one if there is no subtransaction. */
    "RollbackAndReleaseCurrentSubTransaction",
    /* xact.c, miscinit.c, mbutils.c: variables of this backend. */
    "IsTransactionState", "IsInParallelMode", "GetUserId", "GetUserIdAndSecContext", "SetUserIdAndSecContext",
    "GetDatabaseEncoding", "GetCurrentTransactionIdIfAny", "RecoveryInProgress",
};

static bool
is_among(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Whether an error may be raised at all: not in a critical section, where it would be a PANIC, and not in the
 * abort or the end of a transaction, whose callbacks must not raise one (xact.c). */
static bool
may_raise(void)
{
    return CritSectionCount == 0 && IsTransactionState();
}

/* Whether memory comes from the context that the library or the server keeps in reserve for errors
 * (src/pg/error_memory.rs, mcxt.c). Texts of errors fit into the block that either has from the start. */
static bool
is_of_reserve(void)
{
    return CurrentMemoryContext == ErrorContext || strcmp(CurrentMemoryContext->name, "vector_search errors") == 0;
}

static pid_t main_thread;
static ElfW(Addr) own_start, own_end;

typedef struct { long skip; long value; } Verdict;

/* A number for the function and for the places in vector_search from which it is called. */
static uint32
path_of(const Slot *slot)
{
    void *frames[48];
    int count = backtrace(frames, lengthof(frames));
    uint64 hash = (uintptr_t) slot;

    for (int i = 0; i < count; i++)
        if ((ElfW(Addr)) frames[i] >= own_start && (ElfW(Addr)) frames[i] < own_end)
            hash = (hash ^ ((ElfW(Addr)) frames[i] - own_start)) * UINT64CONST(0x9E3779B97F4A7C15) + (hash >> 29);
    return (uint32) (hash >> 32);
}

/* Whether the call that is counted now fails. */
static bool
fails_now(const Slot *slot)
{
    uint64 number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    uint64 first = control->first;

    if (control->trace && number <= MOST_PATHS)
        paths[number - 1] = path_of(slot);
    if (first == 0 || number < first)
        return false;
    if (number != first && !control->lasting && (control->second == 0 || number != first + control->second))
        return false;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    strlcpy((char *) control->name, slot->name, sizeof control->name);
    return true;
}

static void
fail(const Slot *slot)
{
    if (slot->failure == RAISES_NO_MEMORY)
        ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("injected: no memory in %s", slot->name));
    ereport(ERROR, errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("injected: error in %s", slot->name));
}

/* Whether the library starts threads: it does so while it blocks signals (src/pg/am/build.rs). */
static volatile bool starts_threads;

/* Counts what is allocated and given back. Whether this allocation fails. */
static bool
is_failing_allocation(const Slot *slot, const uint64 *arguments)
{
    bool is_new = strcmp(slot->name, "realloc") != 0;

    if (slot->failure == MASKS_SIGNALS)
    {
        starts_threads = arguments[0] == SIG_BLOCK;
        return false;
    }
    if (slot->failure == GIVES_BACK)
    {
        if (arguments[0] != 0)
            __atomic_add_fetch(&control->live, -1, __ATOMIC_SEQ_CST);
        return false;
    }
    /* Rust's standard library allocates the handle of a thread past the library's allocator, and aborts if it
     * cannot. So the library first makes sure that there is room for much more (`room` in src/memory.rs). */
    if (control->what == ALLOCATIONS && !(starts_threads && arguments[0] == 48) && fails_now(slot))
        return true;
    if (is_new)
        __atomic_add_fetch(&control->live, 1, __ATOMIC_SEQ_CST);
    return false;
}

__attribute__((used)) Verdict
inject_before(const Slot *slot, ElfW(Addr) caller, const uint64 *arguments)
{
    Verdict go_on = {0, 0}, null = {1, 0}, no_memory = {1, ENOMEM};

    if (slot->failure >= RETURNS_NULL)
    {
        if (!is_failing_allocation(slot, arguments))
            return go_on;
        return slot->failure == RETURNS_NULL ? null : no_memory;
    }
    if (control->what != CALLS || (slot->shared && !(caller >= own_start && caller < own_end)))
        return go_on;
    if (gettid() != main_thread || !may_raise() || (slot->failure == RAISES_NO_MEMORY && is_of_reserve()))
        return go_on;
    if (!fails_now(slot))
        return go_on;
    if (strcmp(slot->name, "palloc_extended") == 0 && (arguments[1] & MCXT_ALLOC_NO_OOM))
        return null;
    if (strcmp(slot->name, "MemoryContextAllocExtended") == 0 && (arguments[2] & MCXT_ALLOC_NO_OOM))
        return null;
    fail(slot);
    return go_on;
}

/* Keeps all registers that may have arguments, asks `inject_before`, and goes on to the function or returns. The
 * stack of the call is as it was, so that arguments on it are found. */
__asm__(
    ".text\n"
    ".type inject_common, @function\n"
    "inject_common:\n"
    ".cfi_startproc\n"
    "  subq $200, %rsp\n"
    ".cfi_adjust_cfa_offset 200\n"
    "  movq %rax, 0(%rsp)\n"
    "  movq %rdi, 8(%rsp)\n"
    "  movq %rsi, 16(%rsp)\n"
    "  movq %rdx, 24(%rsp)\n"
    "  movq %rcx, 32(%rsp)\n"
    "  movq %r8, 40(%rsp)\n"
    "  movq %r9, 48(%rsp)\n"
    "  movq %r10, 56(%rsp)\n"
    "  movq %r11, 64(%rsp)\n"
    "  movups %xmm0, 72(%rsp)\n"
    "  movups %xmm1, 88(%rsp)\n"
    "  movups %xmm2, 104(%rsp)\n"
    "  movups %xmm3, 120(%rsp)\n"
    "  movups %xmm4, 136(%rsp)\n"
    "  movups %xmm5, 152(%rsp)\n"
    "  movups %xmm6, 168(%rsp)\n"
    "  movups %xmm7, 184(%rsp)\n"
    "  leaq 8(%rsp), %rdx\n"
    "  movq %r11, %rdi\n"
    "  movq 200(%rsp), %rsi\n"
    "  call inject_before\n"
    "  testq %rax, %rax\n"
    "  jne 1f\n"
    ".cfi_remember_state\n"
    "  movq 0(%rsp), %rax\n"
    "  movq 8(%rsp), %rdi\n"
    "  movq 16(%rsp), %rsi\n"
    "  movq 24(%rsp), %rdx\n"
    "  movq 32(%rsp), %rcx\n"
    "  movq 40(%rsp), %r8\n"
    "  movq 48(%rsp), %r9\n"
    "  movq 56(%rsp), %r10\n"
    "  movq 64(%rsp), %r11\n"
    "  movups 72(%rsp), %xmm0\n"
    "  movups 88(%rsp), %xmm1\n"
    "  movups 104(%rsp), %xmm2\n"
    "  movups 120(%rsp), %xmm3\n"
    "  movups 136(%rsp), %xmm4\n"
    "  movups 152(%rsp), %xmm5\n"
    "  movups 168(%rsp), %xmm6\n"
    "  movups 184(%rsp), %xmm7\n"
    "  addq $200, %rsp\n"
    ".cfi_adjust_cfa_offset -200\n"
    "  jmp *(%r11)\n"
    "1:\n"
    ".cfi_restore_state\n"
    "  movq %rdx, %rax\n"
    "  addq $200, %rsp\n"
    ".cfi_adjust_cfa_offset -200\n"
    "  ret\n"
    ".cfi_endproc\n"
    ".size inject_common, .-inject_common\n");

extern void inject_common(void) __attribute__((visibility("hidden")));

/* Stubs: each loads the address of its slot and goes to `inject_common`. */
#define MOST_STUBS 2048
#define STUB 32
static unsigned char *stubs;
static int stub_count;

static void *
stub_of(void *target, const char *name, Failure failure, bool shared)
{
    unsigned char *stub = stubs + stub_count++ * STUB;
    Slot *slot = malloc(sizeof(Slot));
    void *common = (void *) inject_common;

    if (stub_count > MOST_STUBS || slot == NULL)
        elog(ERROR, "too many functions");
    *slot = (Slot){target, strdup(name), failure, shared};
    memcpy(stub, "\x49\xbb", 2);                    /* movabs $slot, %r11 */
    memcpy(stub + 2, &slot, 8);
    memcpy(stub + 10, "\xff\x25\x00\x00\x00\x00", 6); /* jmp *(%rip) */
    memcpy(stub + 16, &common, 8);
    return stub;
}

static void
write_word(void **place, void *value)
{
    static long size = 0;
    uintptr_t page;

    size = size ? size : sysconf(_SC_PAGESIZE);
    page = (uintptr_t) place & ~(uintptr_t) (size - 1);
    if (mprotect((void *) page, size, PROT_READ | PROT_WRITE) != 0)
        elog(ERROR, "mprotect: %m");
    *place = value;
}

static void *server;

/* The stub for a function that vector_search imports, or NULL if it is to be called as it is. */
static void *
stub_for(const char *name, void *target)
{
    static const char *const null[] = {"malloc", "calloc", "realloc"};
    static const char *const memory[] = {"palloc", "palloc0", "palloc_extended", "repalloc", "pstrdup",
        "MemoryContextAlloc", "MemoryContextAllocZero", "MemoryContextAllocExtended", "MemoryContextStrdup"};
    Dl_info info;
    ElfW(Sym) *symbol = NULL;

    if (is_among(name, null, lengthof(null)))
        return stub_of(target, name, RETURNS_NULL, false);
    if (strcmp(name, "posix_memalign") == 0)
        return stub_of(target, name, RETURNS_ENOMEM, false);
    if (strcmp(name, "free") == 0)
        return stub_of(target, name, GIVES_BACK, false);
    if (strcmp(name, "pthread_sigmask") == 0)
        return stub_of(target, name, MASKS_SIGNALS, false);
    if (!dladdr1(target, &info, (void **) &symbol, RTLD_DL_SYMENT) || info.dli_fbase != server || symbol == NULL)
        return NULL;
    /* An executable may have entries for functions of the C library under their names. */
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF || is_among(name, cannot_raise, lengthof(cannot_raise)))
        return NULL;
    return stub_of(target, name, is_among(name, memory, lengthof(memory)) ? RAISES_NO_MEMORY : RAISES, false);
}

static void
patch(const ElfW(Rela) *relocations, size_t bytes, ElfW(Addr) base, const ElfW(Sym) *symbols, const char *strings)
{
    for (size_t i = 0; i < bytes / sizeof(ElfW(Rela)); i++)
    {
        const ElfW(Rela) *relocation = relocations + i;
        unsigned long type = ELF64_R_TYPE(relocation->r_info);
        const char *name = strings + symbols[ELF64_R_SYM(relocation->r_info)].st_name;
        void **place = (void **) (base + relocation->r_offset);
        void *target, *stub;

        if (type != R_X86_64_GLOB_DAT && type != R_X86_64_JUMP_SLOT)
            continue;
        target = type == R_X86_64_JUMP_SLOT ? dlsym(RTLD_DEFAULT, name) : *place;
        if (target != NULL && (stub = stub_for(name, target)) != NULL)
            write_word(place, stub);
    }
}

static int
visit(struct dl_phdr_info *object, size_t size, void *found)
{
    const char *file = strrchr(object->dlpi_name, '/');
    const ElfW(Dyn) *dynamic = NULL;
    ElfW(Addr) tables[DT_NUM] = {0};

    if (file == NULL || strcmp(file, "/vector_search.so") != 0)
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++)
    {
        const ElfW(Phdr) *part = object->dlpi_phdr + i;
        ElfW(Addr) start = object->dlpi_addr + part->p_vaddr;

        if (part->p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *) start;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X))
        {
            own_start = start;
            own_end = start + part->p_memsz;
        }
    }
    for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++)
        if (dynamic->d_tag < DT_NUM)
            tables[dynamic->d_tag] = dynamic->d_un.d_ptr;
    patch((void *) tables[DT_RELA], tables[DT_RELASZ], object->dlpi_addr, (void *) tables[DT_SYMTAB],
        (void *) tables[DT_STRTAB]);
    patch((void *) tables[DT_JMPREL], tables[DT_PLTRELSZ], object->dlpi_addr, (void *) tables[DT_SYMTAB],
        (void *) tables[DT_STRTAB]);
    *(bool *) found = true;
    return 1;
}

/* The callbacks of the table access method, which are called by their addresses. */
static void
patch_table_methods(void)
{
    void **methods = (void **) GetHeapamTableAmRoutine();
    char name[64];

    for (int i = 1; i < (int) (sizeof(TableAmRoutine) / sizeof(void *)); i++)
    {
        /* These give back what others have begun: nothing but pins and memory. */
        bool ends = &methods[i] == (void **) &GetHeapamTableAmRoutine()->scan_end ||
            &methods[i] == (void **) &GetHeapamTableAmRoutine()->index_fetch_end ||
            &methods[i] == (void **) &GetHeapamTableAmRoutine()->index_fetch_reset;

        snprintf(name, sizeof name, "callback %d of the table", i);
        if (methods[i] != NULL && !ends)
            write_word(&methods[i], stub_of(methods[i], name, RAISES, true));
    }
}

void _PG_init(void);

void
_PG_init(void)
{
    char path[MAXPGPATH];
    Dl_info own, main;
    void *frames[4];
    bool found = false;
    int file;

    /* Not `_PG_init`, which is the name of a function of vector_search, too. */
    if (!dladdr((void *) path_of, &own) || !dladdr((void *) errstart, &main))
        elog(ERROR, "dladdr");
    server = main.dli_fbase;
    main_thread = gettid();
    strlcpy(path, own.dli_fname, sizeof path);
    strlcpy(strrchr(path, '/') + 1, "control", 8);
    file = open(path, O_RDWR | O_CLOEXEC);
    control = mmap(NULL, PATHS_AT + 4 * MOST_PATHS, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    paths = (volatile uint32 *) ((volatile char *) control + PATHS_AT);
    stubs = mmap(NULL, MOST_STUBS * STUB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (file < 0 || control == MAP_FAILED || stubs == MAP_FAILED)
        elog(ERROR, "\"%s\": %m", path);
    close(file);
    /* It loads a library at its first call. */
    backtrace(frames, lengthof(frames));
    load_file("$libdir/vector_search", false);
    dl_iterate_phdr(visit, &found);
    if (!found)
        elog(ERROR, "vector_search is not loaded");
    patch_table_methods();
    if (mprotect(stubs, MOST_STUBS * STUB, PROT_READ | PROT_EXEC) != 0)
        elog(ERROR, "mprotect: %m");
}

/* What an error must have reset: counters of this backend that hold interrupts off. */
PG_FUNCTION_INFO_V1(inject_held);

Datum
inject_held(PG_FUNCTION_ARGS)
{
    PG_RETURN_TEXT_P(cstring_to_text(psprintf("%u %u %u", InterruptHoldoffCount, QueryCancelHoldoffCount,
        CritSectionCount)));
}

/* Number of pinned buffers, of all backends. */
PG_FUNCTION_INFO_V1(inject_pinned);

Datum
inject_pinned(PG_FUNCTION_ARGS)
{
    int32 pinned = 0;

    for (int i = 0; i < NBuffers; i++)
    {
        BufferDesc *buffer = GetBufferDescriptor(i);

#if PG_VERSION_NUM >= 190000
        pinned += BUF_STATE_GET_REFCOUNT(pg_atomic_read_u64(&buffer->state)) > 0;
#else
        pinned += BUF_STATE_GET_REFCOUNT(pg_atomic_read_u32(&buffer->state)) > 0;
#endif
    }
    PG_RETURN_INT32(pinned);
}
