//! What is fuzzed: functions that take any bytes. `tests/fuzz.rs` calls them with changed inputs of the
//! corpus at each test run, `coverage.rs` with those of libFuzzer.

mod damage;
mod indexes;
mod maintenance;
mod pages;
mod scan;
mod values;

/// Does with an input what the extension does with input from outside. A fault is a panic.
pub type Target = Box<dyn Fn(&[u8])>;

/// The target of this name, which its folder in `tests/fuzz/corpus` has, too.
pub fn target(name: &str) -> Target {
    match name {
        "text" => Box::new(values::text),
        "binary" => Box::new(values::binary),
        "pages" => {
            let indexes = indexes::all();
            Box::new(move |input| pages::pages(&indexes, input))
        }
        "scan" => {
            let indexes = indexes::all();
            Box::new(move |input| scan::scan(&indexes, input))
        }
        "maintenance" => {
            let indexes = indexes::all();
            Box::new(move |input| maintenance::maintenance(&indexes, input))
        }
        _ => panic!("{name} is no target"),
    }
}
