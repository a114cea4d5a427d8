"""The operator's pages: server-rendered, in English and Japanese, all of it served by the instrument itself."""
