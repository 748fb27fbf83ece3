//! Who a command runs as: `USER` or `USER:GROUP`, names of `/etc/passwd` and `/etc/group` or numbers.

use crate::error::{Error, Result};

/// A user, with what belongs to him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
    /// Name, home and shell; none of a number that no name has.
    pub(crate) named: Option<[String; 3]>,
}

impl Account {
    /// Finds one.
    ///
    /// # Errors
    /// There is no such user or group.
    pub(crate) fn find(text: &str) -> Result<Self> {
        let read = |path: &str| crate::input::read_or_empty(path.as_ref());
        Self::among(text, &read("/etc/passwd"), &read("/etc/group"))
    }

    /// The same, in these files.
    fn among(text: &str, users: &str, groups: &str) -> Result<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let number = user.parse::<u32>().ok();
        let entry = users.lines().map(fields).find(|fields| {
            fields.len() >= 7 && (fields[0] == user || (number.is_some() && fields[2] == user))
        });
        let uid = entry.as_ref().and_then(|fields| fields[2].parse().ok());
        let uid = uid
            .or(number)
            .ok_or_else(|| Error::new(format!("there is no user {user}")))?;
        let name = entry.as_ref().map(|fields| fields[0].clone());
        let own = entry.as_ref().and_then(|fields| fields[3].parse().ok());
        let mut more = Vec::new();
        let gid = match group {
            Some(group) => {
                let found = groups.lines().map(fields).find(|line| line[0] == group);
                let found = found.and_then(|line| line.get(2)?.parse().ok());
                found
                    .or_else(|| group.parse().ok())
                    .ok_or_else(|| Error::new(format!("there is no group {group}")))?
            }
            None => {
                let member = |line: &Vec<String>| {
                    let members = line.get(3).map_or("", String::as_str);
                    members
                        .split(',')
                        .any(|member| Some(member) == name.as_deref())
                };
                more = groups
                    .lines()
                    .map(fields)
                    .filter(member)
                    .filter_map(|line| line.get(2)?.parse().ok())
                    .collect();
                own.unwrap_or(uid)
            }
        };
        Ok(Self {
            uid,
            gid,
            groups: more,
            named: entry.map(|fields| [fields[0].clone(), fields[5].clone(), fields[6].clone()]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:w:/srv:/usr/sbin/nologin\n";
    const GROUPS: &str = "root:x:0:\nweb:x:34:\nlogs:x:4:root,web\n";

    #[test]
    fn users_and_groups_by_name_and_number() {
        let find = |text| {
            Account::among(text, USERS, GROUPS)
                .map(|found| (found.uid, found.gid, found.groups, found.named.is_some()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(find("web"), Ok((33, 34, vec![4], true)));
        assert_eq!(find("33"), Ok((33, 34, vec![4], true)));
        assert_eq!(find("web:logs"), Ok((33, 4, vec![], true)));
        assert_eq!(find("web:77"), Ok((33, 77, vec![], true)));
        assert_eq!(find("1234"), Ok((1234, 1234, vec![], false)));
        assert_eq!(find("nobody"), Err("there is no user nobody".to_owned()));
        assert_eq!(find("web:no"), Err("there is no group no".to_owned()));
    }
}
