std = "lua54"
max_line_length = 140
exclude_files = { "build/" }
files["spec"] = { std = "lua54+busted" }
files["lua/meta"] = { ignore = { "1..", "2..", "3..", "6.." } }
