document.title="wp"
