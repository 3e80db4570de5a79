//! regex-lite under the name of regex, with what oci-spec uses of it.
//!
//! oci-spec matches one short pattern (`process.execCPUAffinity`), once. The regex crate's engines, built for speed on long
//! texts, would be a tenth of keg's binary, and size is start-up time.

pub use regex_lite::{Captures, Match, Regex, RegexBuilder};
