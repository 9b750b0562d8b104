// Package browsertest drives the dashboard in a headless Chromium, as its readers do: every page,
// every button, live progress, both themes, a narrow screen, and axe-core's rules of accessibility.
// It is a module of its own, so that what drives a browser is no dependency of the library's users.
//
// The tests need Chromium and axe-core: scripts/ensure-chromium.sh installs both.
package browsertest
