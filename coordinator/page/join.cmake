# join.cmake: run by `cmake -P` at build: makes one document of the page's sources, as an array in C.
#   -DSOURCE_DIR=…  -DOUTPUT=…/page_document.c  -DSTYLES=a.css,b.css  -DSCRIPTS=a.js,b.js
#
# Styles and scripts take the places of two comments in index.html.  All scripts become one module, so their
# imports and the word `export` go; names are unique over all of them.  The policy allows exactly this style and
# this script, by their SHA-256, and nothing of other origins.
cmake_minimum_required(VERSION 3.25)

function(join out names)
    string(REPLACE "," ";" names "${names}")
    set(text "\n")
    foreach(name IN LISTS names)
        file(READ ${SOURCE_DIR}/${name} part)
        string(APPEND text "${part}")
    endforeach()
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

# Hexadecimal digits as base64 (RFC 4648).
function(base64 out hex)
    set(alphabet ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
    set(text "")
    string(LENGTH "${hex}" digits)
    math(EXPR zeros "(6 - ${digits} % 6) % 6") # whole groups of three bytes
    string(REPEAT "0" ${zeros} filler)
    string(APPEND hex "${filler}")
    math(EXPR last "${digits} + ${zeros} - 1")
    foreach(at RANGE 0 ${last} 6)
        string(SUBSTRING "${hex}" ${at} 6 group)
        foreach(shift IN ITEMS 18 12 6 0)
            math(EXPR value "(0x${group} >> ${shift}) & 63")
            string(SUBSTRING ${alphabet} ${value} 1 character)
            string(APPEND text ${character})
        endforeach()
    endforeach()
    math(EXPR equals "${zeros} / 2")
    string(LENGTH "${text}" length)
    math(EXPR length "${length} - ${equals}")
    string(SUBSTRING "${text}" 0 ${length} text)
    string(REPEAT "=" ${equals} tail)
    set(${out} "${text}${tail}" PARENT_SCOPE)
endfunction()

function(source_of out text) # as a policy names it
    string(SHA256 hash "${text}")
    base64(hash ${hash})
    set(${out} "'sha256-${hash}'" PARENT_SCOPE)
endfunction()

join(style "${STYLES}")
join(script "${SCRIPTS}")
string(REGEX REPLACE "\nimport [^;]*;" "" script "${script}")
string(REPLACE "\nexport " "\n" script "${script}")
source_of(style_source "${style}")
source_of(script_source "${script}")

file(READ ${SOURCE_DIR}/index.html document)
string(REPLACE "<!-- styles -->" "<style>${style}</style>" document "${document}")
string(REPLACE "<!-- scripts -->" "<script type=\"module\">${script}</script>" document "${document}")

string(CONCAT policy "default-src 'none'; script-src ${script_source}; style-src ${style_source}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'")
string(SHA256 tag "${document}")
string(SUBSTRING ${tag} 0 20 tag)
file(WRITE ${OUTPUT}.html "${document}")
file(READ ${OUTPUT}.html bytes HEX)
string(REGEX REPLACE "(................................................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "// Made by join.cmake.
#include \"coordinator/page/page_document.h\"
const unsigned char page_document[] = {
${bytes}};
const size_t page_document_bytes = sizeof page_document;
const char page_policy[] = \"${policy}\";
const char page_tag[] = \"\\\"${tag}\\\"\";
")
