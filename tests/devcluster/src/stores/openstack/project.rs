//! A test's own project, with a user as the installer of OpenShift has one: the role `member`, and nothing else.

use super::keystone::{Keystone, text};
use anyhow::Result;
use hyper::Method;
use serde_json::{Value, json};

/// The domain that every project and user is in: its ID, and its name.
const DOMAIN: (&str, &str) = ("default", "Default");

/// A project with one user, both in the domain `Default`.
#[derive(Clone)]
pub struct Project {
    /// ID; the account of Swift is `AUTH_ID`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The user's ID.
    pub user_id: String,
    /// The user's name.
    pub user: String,
    /// The user's password, as it was when the project was made.
    pub password: String,
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Project");
        shown
            .field("name", &self.name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Project {
    /// Name of the domain of project and user.
    pub fn domain(&self) -> &'static str {
        DOMAIN.1
    }

    /// ID of the domain of project and user.
    pub fn domain_id(&self) -> &'static str {
        DOMAIN.0
    }
}

/// An application credential of a project's user.
#[derive(Clone)]
pub struct ApplicationCredential {
    /// ID.
    pub id: String,
    /// Name, unique for the user.
    pub name: String,
    /// Secret.
    pub secret: String,
}

impl std::fmt::Debug for ApplicationCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ApplicationCredential");
        shown.field("id", &self.id).finish_non_exhaustive()
    }
}

impl Keystone {
    /// Makes a project, and the user `NAME-user` with the role `member` in it. The name must be new.
    pub async fn project(&self, name: &str) -> Result<Project> {
        let body = json!({ "project": { "name": name, "domain_id": DOMAIN.0 } });
        let id = text(&self.call(Method::POST, "/v3/projects", &body).await?, "/project/id")?;
        let (user, password) = (format!("{name}-user"), format!("{name}-password"));
        let body = json!({ "user": { "name": user, "domain_id": DOMAIN.0, "password": password } });
        let user_id = text(&self.call(Method::POST, "/v3/users", &body).await?, "/user/id")?;
        let project = Project {
            id,
            name: name.to_owned(),
            user_id,
            user,
            password,
        };
        self.grant(&project, "member").await?;
        Ok(project)
    }

    /// Gives the user a role in the project: `member`, `reader`, `admin`.
    pub async fn grant(&self, project: &Project, role: &str) -> Result<()> {
        self.call(Method::PUT, &self.role(project, role).await?, &Value::Null)
            .await
            .map(drop)
    }

    /// Takes a role away: `member` is what lets the user use Swift.
    pub async fn revoke(&self, project: &Project, role: &str) -> Result<()> {
        self.call(Method::DELETE, &self.role(project, role).await?, &Value::Null)
            .await
            .map(drop)
    }

    async fn role(&self, project: &Project, role: &str) -> Result<String> {
        let role = self.id("roles", role).await?;
        Ok(format!(
            "/v3/projects/{}/users/{}/roles/{role}",
            project.id, project.user_id
        ))
    }

    /// A token of the user for the project, with that password.
    pub async fn token(&self, project: &Project, password: &str) -> Result<String> {
        let user = json!({ "id": project.user_id, "password": password });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        let scope = json!({ "project": { "id": project.id } });
        self.issue(&identity, Some(&scope)).await
    }

    /// Changes the user's password; tokens that were issued before are refused from now on.
    pub async fn set_password(&self, project: &Project, password: &str) -> Result<()> {
        let body = json!({ "user": { "password": password } });
        let path = format!("/v3/users/{}", project.user_id);
        self.call(Method::PATCH, &path, &body).await.map(drop)
    }

    /// Deletes the user with its application credentials; project and account stay.
    pub async fn delete_user(&self, project: &Project) -> Result<()> {
        let path = format!("/v3/users/{}", project.user_id);
        self.call(Method::DELETE, &path, &Value::Null).await.map(drop)
    }

    /// Makes an application credential of the user, with the user's roles in the project; the user must still have the
    /// first password.
    pub async fn application_credential(&self, project: &Project, name: &str) -> Result<ApplicationCredential> {
        let token = self.token(project, &project.password).await?;
        let path = format!("/v3/users/{}/application_credentials", project.user_id);
        let body = json!({ "application_credential": { "name": name } });
        let made = self.call_with(&token, Method::POST, &path, &body).await?;
        Ok(ApplicationCredential {
            id: text(&made, "/application_credential/id")?,
            name: name.to_owned(),
            secret: text(&made, "/application_credential/secret")?,
        })
    }

    /// Deletes an application credential of the user.
    pub async fn delete_application_credential(
        &self,
        project: &Project,
        credential: &ApplicationCredential,
    ) -> Result<()> {
        let path = format!(
            "/v3/users/{}/application_credentials/{}",
            project.user_id, credential.id
        );
        self.call(Method::DELETE, &path, &Value::Null).await.map(drop)
    }

    /// From now on tokens for this project come with a catalogue of Keystone alone: a cloud without Swift. Other projects
    /// keep theirs.
    pub async fn hide_object_store(&self, project: &Project) -> Result<()> {
        // Keystone shows a project the endpoints that were associated with it, and all of them while there are none.
        for endpoint in self.endpoints("identity").await? {
            let path = format!("/v3/OS-EP-FILTER/projects/{}/endpoints/{endpoint}", project.id);
            self.call(Method::PUT, &path, &Value::Null).await?;
        }
        Ok(())
    }
}
