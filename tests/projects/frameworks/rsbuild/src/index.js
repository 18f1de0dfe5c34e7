document.body.textContent="rs"
