// What follows the # is for the page alone, and no server can put it into the link.
document.querySelector("a.primary").hash = location.hash;
