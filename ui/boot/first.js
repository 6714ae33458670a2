// Runs before the first paint: applies the remembered theme, marks a returning visit, and turns a
// script or wasm that does not load into words. Plain script, so that it also runs where modules
// do not.
(function () {
  "use strict";
  var root = document.documentElement;
  var read = function (key) {
    try {
      return localStorage.getItem(key);
    } catch (blocked) {
      return null;
    }
  };

  var theme = read("thrum.theme");
  if (theme === "light" || theme === "dark") {
    root.dataset.theme = theme;
  }
  var store = new URLSearchParams(location.search).get("store") || "thrum";
  if (read("thrum.choice/" + store)) {
    root.dataset.returning = "";
  }

  var started = false;
  var fail = function (why) {
    if (started) {
      return;
    }
    var show = function () {
      document.getElementById("failure-reason").textContent = why;
      document.getElementById("failure").hidden = false;
      document.getElementById("loading").textContent = "The page’s program did not start.";
      root.dataset.failed = "";
      document.querySelectorAll("#app button").forEach(function (button) {
        button.textContent = "Not available";
      });
    };
    if (document.readyState === "loading") {
      document.addEventListener("DOMContentLoaded", show);
    } else {
      show();
    }
  };

  addEventListener("TrunkApplicationStarted", function () {
    started = true;
  });
  // Script and preload errors do not bubble: they are caught on their way down.
  addEventListener(
    "error",
    function (event) {
      var source = event.target && (event.target.src || event.target.href);
      if (source) {
        fail("Could not load " + source + ".");
      } else if (event.message) {
        fail(event.message);
      }
    },
    true
  );
  addEventListener("unhandledrejection", function (event) {
    fail(String((event.reason && event.reason.message) || event.reason));
  });
  document.addEventListener("securitypolicyviolation", function (event) {
    fail("The page's content security policy blocked " + (event.blockedURI || "a script") + ".");
  });
  addEventListener("thrum-load-failed", function (event) {
    fail(event.detail);
  });
  if (typeof WebAssembly !== "object") {
    fail("This browser has no WebAssembly.");
  }
})();
