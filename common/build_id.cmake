# build_id.cmake: run by `cmake -P` at every build; writes OUTPUT only when the id has changed.
#   -DSOURCE_DIR=…  -DOUTPUT=…/build_id.h  -DVERSION=…  -DFLAGS=compiler and flags
# The id is the version and a hash over all sources of both programs, the compiler and its flags:
# two processes that agree on it run the same code.
cmake_minimum_required(VERSION 3.25)

set(patterns)
foreach(folder common coordinator worker proto)
    foreach(extension c h proto txt)
        list(APPEND patterns ${SOURCE_DIR}/${folder}/*.${extension})
    endforeach()
endforeach()
file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR} ${patterns})
list(SORT files)
set(all "${FLAGS}")
foreach(name IN LISTS files)
    file(SHA256 ${SOURCE_DIR}/${name} hash)
    string(APPEND all "\n${name} ${hash}")
endforeach()
string(SHA256 hash "${all}")
string(SUBSTRING ${hash} 0 12 hash)
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define BUILD_ID \"${VERSION}+${hash}\"\n" @ONLY)
