//! The checker of histories: any lines are read or refused, and the report's counts agree with its
//! examples.

use tidewire_history::{Event, History};

/// Lines of a file.
pub(crate) fn history(data: &[u8]) {
    let mut history = History::new();
    let mut at_once = 0;
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(event) = serde_json::from_slice::<Event<'static>>(line) else { continue };
        let text = serde_json::to_string(&event).expect("an event is JSON");
        assert_eq!(serde_json::from_str::<Event<'static>>(&text).expect("its own text"), event);
        at_once += u64::from(history.push(event).is_err());
    }
    let report = history.finish();
    let counted = report.lost
        + report.duplicated
        + report.reordered
        + report.skipped
        + report.nonmonotonic
        + report.invented
        + report.diverged;
    assert!(counted >= at_once, "{report}");
    assert_eq!(report.is_clean(), counted == 0, "{report}");
    assert_eq!(history.finish(), report, "finishing changes nothing");
}
