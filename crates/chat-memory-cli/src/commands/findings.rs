//! What `table check` and `doctor` find, each with its remedy.

use chat_memory::store::dynamodb::admin::{self, Severity, Subject};
use serde_json::{Value, json};

use crate::app::App;
use crate::escape::visible_line;
use crate::failure::Failure;

/// One finding.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) subject: &'static str,
    /// A sentence without a full stop.
    pub(super) what: String,
    pub(super) remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn fine(subject: &'static str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Fine, subject, what: what.into(), remedy: None }
    }

    /// Something that has a remedy.
    pub(super) fn new(severity: Severity, subject: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity, subject, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.as_str(),
            "subject": self.subject,
            "what": self.what,
            "remedy": self.remedy,
        })
    }
}

impl From<&admin::Finding> for Finding {
    fn from(finding: &admin::Finding) -> Self {
        let admin::Finding { severity, subject, what, remedy, .. } = finding;
        Self { severity: *severity, subject: subject.as_str(), what: what.clone(), remedy: remedy.clone() }
    }
}

/// Whether a table can store sessions. One that did not answer was not checked.
pub(super) fn fits(findings: &[admin::Finding]) -> bool {
    let answered = !matches!(findings, [only] if only.severity > Severity::Fine && only.subject == Subject::Table);
    answered && findings.iter().all(|finding| finding.severity < Severity::Error)
}

/// Prints findings for people.
pub(super) fn print(app: &App, findings: impl IntoIterator<Item = impl Into<Finding>>) -> Result<(), Failure> {
    for finding in findings {
        let Finding { severity, what, remedy, .. } = finding.into();
        app.out.line(format_args!("{:8} {}", severity.as_str(), visible_line(&what)))?;
        if let Some(remedy) = remedy {
            app.out.line(format_args!("{:8} {}", "", visible_line(&remedy)))?;
        }
    }
    Ok(())
}

/// Findings for a program.
pub(super) fn to_json(findings: impl IntoIterator<Item = impl Into<Finding>>) -> Vec<Value> {
    findings.into_iter().map(|finding| finding.into().to_json()).collect()
}
