//! The rows that a set-returning function returns, gathered in a tuplestore of the server
//! (`SFRM_Materialize`).

use pgrx::pg_sys;

use crate::ivf::search::batch::Neighbour;
use crate::page::Tid;
use crate::pg::storage::tid::item_pointer;

/// The columns of a result: a number or an address, an address, a distance.
const COLUMNS: usize = 3;

/// The result of a call. Beyond `work_mem` the server writes it to a file.
pub struct ResultSet {
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
}

impl ResultSet {
    /// The empty result of a call; raises an error if the caller does not take a set.
    pub fn begin(call: pg_sys::FunctionCallInfo) -> Self {
        // SAFETY: the server passes a call. This checks that it wants a set, and makes one that lives until
        // it has been read.
        unsafe {
            pg_sys::InitMaterializedSRF(call, 0);
            let info = (*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            Self { store: (*info).setResult, columns: (*info).setDesc }
        }
    }

    /// Adds a neighbour of a query.
    pub fn put_query(&self, query: u64, neighbour: Neighbour) {
        self.put(pg_sys::Datum::from(query as i32), neighbour);
    }

    /// Adds a neighbour of a row.
    pub fn put_row(&self, row: Tid, neighbour: Neighbour) {
        let row = item_pointer(row);
        self.put(pg_sys::Datum::from(&raw const row), neighbour);
    }

    fn put(&self, first: pg_sys::Datum, Neighbour { row, value }: Neighbour) {
        let row = item_pointer(row);
        let distance = pg_sys::Datum::from(value.to_bits());
        let values = [first, pg_sys::Datum::from(&raw const row), distance];
        // SAFETY: set and columns are those of the call, whose columns these are (sql/ivf.sql); the values
        // are copied.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.store,
                self.columns,
                values.as_ptr().cast_mut(),
                [false; COLUMNS].as_ptr().cast_mut(),
            );
        }
    }
}
