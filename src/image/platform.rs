//! Platforms: `linux/arm64/v8`, what a machine can run, and which of several fits best.

use std::fmt;
use std::str::FromStr;

/// Operating system and processor, in Go's names (GOOS, GOARCH).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Platform {
    /// GOOS.
    pub os: String,
    /// GOARCH.
    pub architecture: String,
    /// The processor's variant: `v7` of arm, `v3` of amd64.
    pub variant: Option<String>,
    /// The version of the operating system, where it matters.
    pub os_version: Option<String>,
    /// What the operating system must be able to do.
    pub os_features: Vec<String>,
}

/// How far what is offered is from what was wished for: the least fits best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance {
    /// A version of the system was wished for, and none is named.
    is_unversioned: bool,
    /// By so much the variant is lower.
    variant: u32,
    /// So many features of the system are not made use of.
    unused: usize,
}

impl Distance {
    /// Of what is for any platform.
    pub const FARTHEST: Self = Self { is_unversioned: true, variant: u32::MAX, unused: usize::MAX };
}

/// The text is no platform.
#[derive(Debug, thiserror::Error)]
#[error("invalid platform {0:?}: expected os[(version[+feature...])]/architecture[/variant]")]
pub struct InvalidPlatform(pub String);

impl Platform {
    /// The platform keg was built for and runs on.
    pub fn host() -> Self {
        Self::named("linux", std::env::consts::ARCH, None)
    }

    fn named(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, usual) = match architecture {
            "x86_64" | "x86-64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "i386" | "i686" => ("386", None),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        let variant = variant.or(usual).map(str::to_owned);
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant, ..Self::default() }
    }

    /// Attestations are listed under this platform, which nothing can run.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// The variant as a number, where a missing one means the architecture's baseline.
    fn level(&self) -> Option<u32> {
        let baseline = match self.architecture.as_str() {
            "arm" => "v7",
            "arm64" => "v8",
            _ => "v1",
        };
        let variant = match self.variant.as_deref() {
            None | Some("") => baseline,
            Some(variant) => variant,
        };
        let digits = variant.strip_prefix('v').unwrap_or(variant);
        let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
        let number = |text: &str| text.parse::<u16>().ok().map(u32::from);
        Some(number(major)? << 16 | number(minor)?)
    }

    /// How well what `offered` names fits a wish for `self`, if at all. Of one architecture, lower variants run on higher ones.
    pub fn distance(&self, offered: &Self) -> Option<Distance> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        if self.os_version.is_some() && offered.os_version.is_some() && self.os_version != offered.os_version
        {
            return None;
        }
        if offered.os_features.iter().any(|feature| !self.os_features.contains(feature)) {
            return None;
        }
        let variant = match (self.level(), offered.level()) {
            (Some(wanted), Some(has)) => wanted.checked_sub(has)?,
            _ if self.variant == offered.variant => 0,
            _ => return None,
        };
        let unused = self.os_features.iter().filter(|feature| !offered.os_features.contains(feature)).count();
        Some(Distance {
            is_unversioned: self.os_version.is_some() && offered.os_version.is_none(),
            variant,
            unused,
        })
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPlatform(text.to_owned());
        let mut parts: Vec<&str> = text.split('/').collect();
        let mut details = "";
        if let Some((os, rest)) = parts[0].split_once('(') {
            (parts[0], details) = (os, rest.strip_suffix(')').ok_or_else(invalid)?);
        }
        let legal = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let (version, features) = match details.split_once('+') {
            Some((version, features)) => (version, features.split('+').collect()),
            None => (details, Vec::new()),
        };
        let has_legal_version = version.is_empty() || legal(&version);
        if !has_legal_version || !parts.iter().chain(&features).all(legal) {
            return Err(invalid());
        }
        let named = match parts[..] {
            [os, architecture] => Self::named(os, architecture, None),
            [os, architecture, variant] => Self::named(os, architecture, Some(variant)),
            _ => return Err(invalid()),
        };
        let os_version = (!version.is_empty()).then(|| version.to_owned());
        let os_features = features.into_iter().map(str::to_owned).collect();
        Ok(Self { os_version, os_features, ..named })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if self.os_version.is_some() || !self.os_features.is_empty() {
            let features = self.os_features.iter().map(|feature| format!("+{feature}"));
            write!(f, "({}{})", self.os_version.as_deref().unwrap_or(""), features.collect::<String>())?;
        }
        write!(f, "/{}", self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Distance, Platform};

    const EXACT: Option<Distance> = Some(Distance { is_unversioned: false, variant: 0, unused: 0 });

    fn distance(wanted: &str, offered: &str) -> Option<Distance> {
        let parse = |text: &str| text.parse::<Platform>().unwrap();
        parse(wanted).distance(&parse(offered))
    }

    #[test]
    fn the_nearest_lower_variant_fits_best() {
        assert_eq!(distance("linux/amd64", "linux/amd64"), EXACT);
        assert_eq!(distance("linux/x86_64", "linux/amd64/v1"), EXACT);
        assert_eq!(distance("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(distance("linux/arm64", "linux/arm64/v8"), EXACT);
        assert_eq!(distance("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(distance("linux/arm", "linux/arm/v7"), EXACT);
        assert!(distance("linux/arm/v7", "linux/arm/v6") < distance("linux/arm/v7", "linux/arm/v5"));
        assert!(distance("linux/amd64/v3", "linux/amd64/v2") < distance("linux/amd64/v3", "linux/amd64"));
        assert_eq!(distance("linux/amd64", "windows/amd64"), None);
        assert_eq!(distance("linux/arm64", "linux/arm/v7"), None);
        assert_eq!(distance("linux/x/odd", "linux/x/odd"), EXACT);
        assert_eq!(distance("linux/x/odd", "linux/x/even"), None);
    }

    #[test]
    fn version_and_features_of_the_operating_system_count() {
        let wanted = Platform { os_version: Some("1".into()), ..Platform::host() };
        let other = Platform { os_version: Some("2".into()), ..Platform::host() };
        assert_eq!(wanted.distance(&other), None);
        assert_eq!(wanted.distance(&wanted.clone()), EXACT);
        let demanding = Platform { os_features: vec!["x".into()], ..Platform::host() };
        assert_eq!(Platform::host().distance(&demanding), None);
        assert_eq!(demanding.distance(&demanding.clone()), EXACT);
        // The nearest first: the version, then the variant, then what is made use of.
        let order = [
            "linux(6+a)/amd64/v2",
            "linux(6)/amd64/v2",
            "linux(6+a)/amd64",
            "linux(+a)/amd64/v2",
            "linux/amd64",
        ];
        let distances: Vec<_> =
            order.iter().map(|offered| distance("linux(6+a)/amd64/v2", offered).unwrap()).collect();
        assert!(
            distances[0] == EXACT.unwrap() && distances.is_sorted_by(|one, other| one < other),
            "{distances:?}"
        );
        assert!(distances.iter().all(|distance| *distance < Distance::FARTHEST));
    }

    #[test]
    fn texts_that_are_no_platform() {
        for text in ["linux(6.1)/amd64", "linux(+a)/arm/v7", "linux(6.1+a+b)/amd64", "linux/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "a/b/c/d",
            "linux/am d64",
            "linux(/amd64",
            "linux(1",
            "linux(+)/amd64",
            "(1)/x",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        assert_eq!("linux/armhf".parse::<Platform>().unwrap().to_string(), "linux/arm/v7");
    }
}
