//! Texts of a room: its states, its devices, its drawings, each in English and German.

#![expect(
    missing_docs,
    reason = "the name of a text says where it stands, the text says the rest"
)]

use super::{Text, texts};

texts! {
    SERVER_CONNECTING:
        "connecting to the server",
        "verbindet sich mit dem Server";
    SERVER_CONNECTED:
        "server connected",
        "mit dem Server verbunden";
    SERVER_LOST:
        "server lost",
        "Server verloren";
    SERVER_AWAY:
        "server away, trying again",
        "Server fort, neuer Versuch";
    JOINING:
        "Joining",
        "Tritt ein";
    WAITING:
        "Waiting for devices",
        "Wartet auf Geräte";
    WARMING_UP:
        "Warming up",
        "Wärmt sich auf";
    TRAINING:
        "Training",
        "Trainiert";
    PAUSED:
        "Paused",
        "Pause";
    RECONFIGURING:
        "Regrouping the devices",
        "Stellt die Geräte neu auf";
    LACKING:
        "Waiting for a device",
        "Wartet auf ein Gerät";
    FINISHED:
        "Finished",
        "Fertig";
    STOPPED:
        "Stopped",
        "Beendet";
    REFUSED:
        "Could not join",
        "Kein Zutritt";
    BROKEN:
        "This device dropped out",
        "Dieses Gerät ist herausgefallen";
    LEFT:
        "You left the room",
        "Du hast den Raum verlassen";
    JOINING_STARTING:
        "Starting this device.",
        "Dieses Gerät startet.";
    JOINING_SERVER:
        "Looking for the server.",
        "Sucht den Server.";
    JOINING_ROOM:
        "The server is there. Entering the room.",
        "Der Server ist da. Der Raum wird betreten.";
    WARMING_UP_DETAIL:
        "The devices build their layers, connect to their neighbours and prepare their kernels.",
        "Die Geräte bauen ihre Schichten, verbinden sich mit ihren Nachbarn und bereiten ihre Kernel vor.";
    PAUSED_DETAIL:
        "No new step begins until somebody presses Resume.",
        "Kein neuer Schritt beginnt, bis jemand auf Weiter drückt.";
    LEAVING_DETAIL:
        "This device finishes the step, hands its layers on, and leaves as soon as the others have them.",
        "Dieses Gerät beendet den Schritt, gibt seine Schichten weiter und geht, sobald die anderen sie haben.";
    LEFT_DETAIL:
        "The others go on without this device. Reload the page to come back.",
        "Die anderen machen ohne dieses Gerät weiter. Lade die Seite neu, um zurückzukommen.";
    NUMBER_STEP:
        "Step",
        "Schritt";
    NUMBER_LOSS:
        "Loss",
        "Verlust";
    NUMBER_ACCURACY:
        "Accuracy",
        "Genauigkeit";
    NUMBER_SAMPLES:
        "Samples/s",
        "Beispiele/s";
    NUMBER_BYTES:
        "Data/s",
        "Daten/s";
    NUMBER_NONE:
        "–",
        "–";
    NUMBER_NOT_ONE:
        "not a number",
        "keine Zahl";
    NUMBER_INFINITE:
        "infinite",
        "unendlich";
    TIME_UNKNOWN:
        "an unknown time",
        "eine unbekannte Zeit";
    RING_TITLE:
        "The ring",
        "Der Ring";
    TEAM_TITLE:
        "Who is linked to whom",
        "Wer mit wem verbunden ist";
    RING_CLOSING:
        "closing link",
        "schließender Link";
    MOTION_ACTIVATIONS:
        "activations",
        "Aktivierungen";
    MOTION_GRADIENTS:
        "gradients",
        "Gradienten";
    MOTION_LIVE:
        "as fast as it was",
        "so schnell, wie es war";
    CENTRE_STEP:
        "step",
        "Schritt";
    CURVE_LOSS:
        "Loss",
        "Verlust";
    CURVE_ACCURACY:
        "Accuracy on unseen samples",
        "Genauigkeit auf ungesehenen Beispielen";
    CURVE_EMPTY:
        "The curve begins with the first step.",
        "Die Kurve beginnt mit dem ersten Schritt.";
    CURVE_EMPTY_ACCURACY:
        "The curve begins with the first evaluation.",
        "Die Kurve beginnt mit der ersten Auswertung.";
    MEMBERS_TITLE:
        "Devices",
        "Geräte";
    MEMBERS_NONE:
        "Nobody is here yet.",
        "Noch ist niemand hier.";
    COLUMN_DEVICE:
        "Device",
        "Gerät";
    COLUMN_LAYERS:
        "Layers",
        "Schichten";
    COLUMN_TIME:
        "Its time",
        "Seine Zeit";
    COLUMN_STATUS:
        "Status",
        "Zustand";
    COLUMN_LINKS:
        "Links",
        "Links";
    HOST:
        "host",
        "Gastgeber";
    BUTTON_KICK:
        "Send away",
        "Wegschicken";
    BUTTON_RENAME:
        "Rename",
        "Umbenennen";
    BUTTON_CANCEL:
        "Cancel",
        "Abbrechen";
    RENAME_TITLE:
        "A name that everybody sees",
        "Ein Name, den alle sehen";
    KICKED_ADVICE:
        "Ask them before you come back.",
        "Frag nach, bevor du zurückkommst.";
    THIS_DEVICE:
        "this device",
        "dieses Gerät";
    KIND_TAB:
        "browser tab",
        "Browser-Tab";
    KIND_NATIVE:
        "program",
        "Programm";
    EXECUTOR_GPU:
        "GPU",
        "GPU";
    EXECUTOR_CPU:
        "CPU",
        "CPU";
    UNNAMED:
        "unnamed device",
        "Gerät ohne Namen";
    STATUS_WAITING:
        "waiting",
        "wartet";
    STATUS_MEASURING:
        "measuring its speed",
        "misst sein Tempo";
    STATUS_PREPARING:
        "preparing",
        "bereitet sich vor";
    STATUS_READY:
        "ready",
        "bereit";
    STATUS_TRAINING:
        "training",
        "trainiert";
    STATUS_SPARE:
        "spare",
        "Reserve";
    STATUS_WATCHING:
        "watching",
        "schaut zu";
    STATUS_DONE:
        "done",
        "fertig";
    STATUS_AWAY:
        "away",
        "fort";
    STATUS_LEAVING:
        "leaving",
        "geht";
    STATUS_CUT_OUT:
        "cut out",
        "ausgeschlossen";
    LAYERS_TOO_FEW:
        "none: there are more devices than layers",
        "keine: Es gibt mehr Geräte als Schichten";
    LAYERS_TOO_LARGE:
        "none: it gives less memory than a layer takes",
        "keine: Es gibt weniger Speicher, als eine Schicht braucht";
    LAYERS_FASTER_WITHOUT:
        "none: the ring is as fast without it",
        "keine: Der Ring ist ohne es so schnell";
    LAYERS_WATCHING:
        "none: it only watches",
        "keine: Es schaut nur zu";
    LAYERS_UNPLANNED:
        "not dealt yet",
        "noch nicht verteilt";
    LINK_CONNECTING:
        "link to this device is being made",
        "Der Link zu diesem Gerät entsteht";
    RELAYED:
        "relayed",
        "über einen Server";
    LINK_OPEN:
        "linked with this device",
        "mit diesem Gerät verbunden";
    NOTICES:
        "What happened",
        "Was geschehen ist";
    LEVEL_INFORMATION:
        "Note",
        "Hinweis";
    LEVEL_WARNING:
        "Warning",
        "Warnung";
    LEVEL_ERROR:
        "Error",
        "Fehler";
    WORKER_FAILED_ADVICE:
        "Reload the page. If it happens again, close other tabs to free memory, or try another browser.",
        "Lade die Seite neu. Geschieht es wieder, schließe andere Tabs, damit Speicher frei wird, oder nimm einen anderen Browser.";
    SIGNALLING_ADVICE:
        "Check that the server runs and that this device is on its network, then try again.",
        "Sieh nach, ob der Server läuft und dieses Gerät in seinem Netz ist, und versuch es noch einmal.";
    COMPUTE_ADVICE:
        "Add executor=cpu to the address to train on the CPU.",
        "Häng executor=cpu an die Adresse, um auf der CPU zu trainieren.";
    REFUSED_ADVICE:
        "Check the link with whoever sent it, or open a room of your own.",
        "Vergleiche den Link mit dem, der ihn geschickt hat, oder öffne einen eigenen Raum.";
    WORKER_NOT_LOADED:
        "its script could not be loaded",
        "ihr Skript lässt sich nicht laden";
    MEMORY_USED_UP:
        "its memory is probably used up (a tab has 4 GB at most; with more devices each holds less)",
        "ihr Speicher ist wahrscheinlich aufgebraucht (ein Tab hat höchstens 4 GB; sind es mehr Geräte, hält jedes weniger)";
    START_UNREADABLE:
        "The training part of the page cannot read its first message.",
        "Der trainierende Teil der Seite kann seine erste Nachricht nicht lesen.";
    UNANSWERED:
        "The training part of the page does not start.",
        "Der trainierende Teil der Seite startet nicht.";
    TIMELINE_TITLE:
        "What each device does",
        "Was jedes Gerät tut";
    TRACE_SAVE:
        "Save this device's trace",
        "Aufzeichnung dieses Geräts speichern";
    LEGEND_FORWARD:
        "F forward",
        "F vorwärts";
    LEGEND_BACKWARD:
        "B backward, for the inputs",
        "B rückwärts, für die Eingaben";
    LEGEND_WEIGHTS:
        "W backward, for the weights",
        "W rückwärts, für die Gewichte";
    LEGEND_UPDATE:
        "U update",
        "U Aktualisierung";
    LEGEND_ACTIVATION:
        "activations arriving",
        "ankommende Aktivierungen";
    LEGEND_WHOLE_BACKWARD:
        "W backward",
        "W rückwärts";
    LEGEND_WHOLE_ARRIVING:
        "weights arriving",
        "ankommende Gewichte";
    LEGEND_GRADIENT:
        "gradients arriving",
        "ankommende Gradienten";
    LEGEND_IDLE:
        "idle",
        "untätig";
    WAITS_INPUT:
        "mostly waits for a neighbour to compute",
        "wartet meist darauf, dass ein Nachbar rechnet";
    WAITS_LINK:
        "mostly waits for a link",
        "wartet meist auf einen Link";
    WAITS_CREDIT:
        "mostly waits for work to come back",
        "wartet meist darauf, dass Arbeit zurückkommt";
    WAITS_WEIGHTS:
        "mostly waits for its own update",
        "wartet meist auf seine eigene Aktualisierung";
}
