//! PURE: reads one cloud of a `clouds.yaml`. Source: openstacksdk, "Configuring OpenStack SDK Applications".
//!
//! Everything that the operator does not use is ignored, whatever its type.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The cloud that is used if the cluster names none.
pub const DEFAULT_CLOUD: &str = "openstack";

/// A text that may be written without quotes: a project `0123` stays `0123`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(Self(text.filter(|text| !text.is_empty())))
    }
}

/// The map `auth` of a cloud.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// Keystone's URL.
    pub auth_url: Text,
    /// Name of the user.
    pub username: Text,
    /// ID of the user.
    pub user_id: Text,
    /// Password of the user.
    pub password: Text,
    /// A token that was issued elsewhere.
    pub token: Text,
    /// ID of the application credential.
    pub application_credential_id: Text,
    /// Name of the application credential.
    pub application_credential_name: Text,
    /// Secret of the application credential.
    pub application_credential_secret: Text,
    /// Name of the project.
    pub project_name: Text,
    /// ID of the project.
    pub project_id: Text,
    /// Domain of user and project, by name.
    pub domain_name: Text,
    /// Domain of user and project, by ID.
    pub domain_id: Text,
    /// ID of the domain of user and project, where nothing else names one. Source: gophercloud.
    pub default_domain: Text,
    /// The same. Source: keystoneauth.
    pub default_domain_id: Text,
    /// Name of that domain.
    pub default_domain_name: Text,
    /// Domain of the user, by name.
    pub user_domain_name: Text,
    /// Domain of the user, by ID.
    pub user_domain_id: Text,
    /// Domain of the project, by name.
    pub project_domain_name: Text,
    /// Domain of the project, by ID.
    pub project_domain_id: Text,
}

/// Debug output leaves the values out.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

/// A cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cloud {
    /// How to log in.
    pub auth: Option<Auth>,
    /// Region of the endpoints.
    pub region_name: Text,
    /// Version of Keystone's API.
    pub identity_api_version: Text,
    /// Which endpoint of a service: `public`, `internal`, `admin`.
    pub interface: Text,
    /// The older name of `interface`.
    pub endpoint_type: Text,
    /// `false`: certificates are not verified.
    pub verify: Text,
}

/// An entry of `clouds`; `None` if it is no map.
struct Entry(Option<Cloud>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnEntry;

        impl<'de> Visitor<'de> for AnEntry {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cloud")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Cloud::deserialize(MapAccessDeserializer::new(map)).map(|cloud| Entry(Some(cloud)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Entry, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entry(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<Entry, E> {
                Ok(Entry(None))
            }

            fn visit_unit<E>(self) -> Result<Entry, E> {
                Ok(Entry(None))
            }
        }

        deserializer.deserialize_any(AnEntry)
    }
}

/// The value of one key of a map. The values of all other keys are ignored, whatever they are.
struct At<'a, S> {
    key: &'a str,
    seed: S,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for At<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for At<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut seed, mut found) = (Some(self.seed), None);
        while let Some(key) = map.next_key::<String>()? {
            if key != self.key {
                map.next_value::<IgnoredAny>()?;
            } else if let Some(seed) = seed.take() {
                found = Some(map.next_value_seed(seed)?);
            } else {
                return Err(serde::de::Error::custom("a key stands there twice"));
            }
        }
        Ok(found)
    }
}

/// Reads the cloud of this name.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence. It contains nothing of the text.
pub fn read(text: &str, name: &str) -> Result<Cloud, String> {
    // The error of the parser may quote the text, and with it a password.
    let file = At {
        key: "clouds",
        seed: At {
            key: name,
            seed: PhantomData::<Entry>,
        },
    };
    let entry = serde_saphyr::with_deserializer_from_str(text, |yaml| file.deserialize(yaml)).map_err(|error| {
        match error.location() {
            Some(place) => format!("is not valid YAML of this format (line {})", place.line()),
            None => "is not valid YAML of this format".to_owned(),
        }
    })?;
    match entry.flatten() {
        None => Err(format!(
            "has no cloud {name}: status.platformStatus.openstack.cloudName of infrastructures/cluster names it, or else \
             it is {DEFAULT_CLOUD}"
        )),
        Some(Entry(Some(cloud))) if cloud.auth.is_some() => Ok(cloud),
        Some(_) => Err(format!("has a cloud {name} without a map auth")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text(Some(text.to_owned()))
    }

    // storage-swift 14, 18
    #[test]
    fn the_cloud_is_read_as_it_is_written_and_the_rest_is_ignored() {
        let file = "\
            comment: [1, {a: b}]\n\
            clouds:\n\
            \x20 other: 5\n\
            \x20 list: [x]\n\
            \x20 none:\n\
            \x20 flag: true\n\
            \x20 half: 1.5\n\
            \x20 word: x\n\
            \x20 east:\n\
            \x20   auth: {auth_url: 'http://h', password: 12345, project_id: 0123e4, username: yes, user_domain_name: ''}\n\
            \x20   auth_type: v3password\n\
            \x20   regions: [{name: r}]\n\
            \x20   identity_api_version: 3\n\
            \x20   verify: false\n\
            \x20   region_name: ~\n";
        let cloud = read(file, "east").unwrap();
        let auth = cloud.auth.clone().unwrap();
        assert_eq!(auth.password, text("12345"));
        assert_eq!(auth.project_id, text("0123e4"));
        assert_eq!(auth.username, text("yes"));
        assert_eq!(auth.user_domain_name, Text(None));
        assert_eq!(cloud.identity_api_version, text("3"));
        assert_eq!(
            (cloud.verify.clone(), cloud.region_name.clone()),
            (text("false"), Text(None))
        );
        assert!(!format!("{cloud:?}").contains("12345"));
        for name in ["other", "list", "none", "flag", "half", "word", "absent"] {
            assert!(read(file, name).unwrap_err().contains(name), "{name}");
        }
    }

    // storage-swift section 2.3
    #[test]
    fn a_cloud_that_is_not_used_may_have_any_form() {
        for other in [
            "{auth: [x]}",
            "{auth: x}",
            "{auth: {password: [x]}}",
            "{region_name: {a: b}, verify: [x]}",
            "~",
            "[{auth: {}}]",
        ] {
            for clouds in [
                format!("clouds: {{other: {other}, east: {{auth: {{token: t}}}}}}"),
                format!("clouds: {{east: {{auth: {{token: t}}}}, other: {other}}}"),
            ] {
                let cloud = read(&clouds, "east");
                let token = cloud
                    .as_ref()
                    .ok()
                    .and_then(|cloud| cloud.auth.as_ref())
                    .map(|auth| &auth.token);
                assert_eq!(token, Some(&text("t")), "{clouds}: {cloud:?}");
            }
        }
    }

    // The Secret holds up to a MiB. A stack overflow would end the process, again and again.
    #[test]
    fn no_file_takes_the_process_down_or_long() {
        let mut laughs = "clouds: {}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..30 {
            let alias = format!("*a{}, ", n - 1).repeat(9);
            laughs += &[
                "a",
                &n.to_string(),
                ": &a",
                &n.to_string(),
                " [",
                &alias,
                "*a",
                &(n - 1).to_string(),
                "]\n",
            ]
            .concat();
        }
        laughs.push_str("x: *a29\n");
        let used = laughs.replace("clouds: {}\n", "") + "clouds: {east: *a29}\n";
        let deep = |open: &str| format!("clouds: {{}}\nx: {}", open.repeat(300_000 / open.len()));
        let block = (0..1_300).map(|n| " ".repeat(n) + "k:").collect::<Vec<_>>().join("\n");
        let started = std::time::Instant::now();
        let inside = format!("clouds: {{east: {{auth: {{auth_url: {}", "[".repeat(300_000));
        for file in [
            laughs,
            used,
            deep("["),
            deep("{a: "),
            deep("- "),
            deep("!!a "),
            block,
            inside,
        ] {
            let _ = read(&file, "east");
        }
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }

    // storage-swift 51
    #[test]
    fn no_error_repeats_a_part_of_the_file() {
        for file in [
            "clouds: {east: {auth: {password: [hunter2}}}",
            "clouds: {east: {auth: {password: {hunter2: 1}}}}",
            "hunter2",
            "",
            "clouds: hunter2",
            "clouds: {east: {hunter2: 1}}",
            "clouds: {east: {auth: hunter2}}",
            "clouds: {east: {auth: {}}, east: {auth: {password: hunter2}}}",
        ] {
            let error = read(file, "east").unwrap_err();
            assert!(!error.contains("hunter2"), "{file}: {error}");
        }
    }
}
