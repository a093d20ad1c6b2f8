(function () {
  "use strict";
  var root = document.documentElement;
  var theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  var points = JSON.parse(document.getElementById("points").textContent);
  var timeline = document.getElementById("timeline");
  var field = document.getElementById("field");
  var cursor = document.getElementById("cursor");
  var readout = document.getElementById("readout");
  var bars = Array.prototype.map.call(timeline.querySelectorAll(".bar"), function (bar) {
    var left = Number(bar.dataset.left);
    return { left: left, right: left + Number(bar.dataset.width), title: bar.title };
  });
  var names = ["wall", "rule time", "phase", "planned", "sent", "received", "p50", "p99", "p99.9", "clients"];

  function pointAt(percent) {
    var low = 0, high = points.length - 1;
    while (low < high) {
      var middle = (low + high + 1) >> 1;
      if (points[middle][0] <= percent) { low = middle; } else { high = middle - 1; }
    }
    return points[low];
  }
  function element(tag, text) {
    var made = document.createElement(tag);
    made.textContent = text;
    return made;
  }
  function leave() { cursor.hidden = readout.hidden = true; }
  function show(event) {
    var box = field.getBoundingClientRect();
    var percent = (event.clientX - box.left) / box.width * 100;
    if (percent < 0 || percent > 100) { return leave(); }
    cursor.style.left = percent + "%";
    readout.textContent = "";
    if (points.length) {
      var point = pointAt(percent);
      names.forEach(function (name, index) {
        var value = point[index + 1];
        if (value === null || value === "") { return; }
        var line = document.createElement("div");
        line.append(element("span", name), element("span", value));
        readout.append(line);
      });
    }
    bars.forEach(function (bar) {
      if (bar.left <= percent && percent <= bar.right) { readout.append(element("p", bar.title)); }
    });
    cursor.hidden = false;
    readout.hidden = !readout.childNodes.length;
    var whole = timeline.getBoundingClientRect();
    var at = event.clientX - whole.left;
    var width = readout.offsetWidth;
    readout.style.left = (at + 16 + width > whole.width ? Math.max(0, at - 16 - width) : at + 16) + "px";
    var top = event.clientY - whole.top + 14;
    readout.style.top = Math.max(0, Math.min(top, whole.height - readout.offsetHeight)) + "px";
  }
  timeline.addEventListener("mousemove", show);
  timeline.addEventListener("mouseleave", leave);
})();
