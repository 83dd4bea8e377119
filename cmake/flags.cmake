# How C is compiled here: the project itself, and the parts of it that tests build for another CPU.
option(LOCKSTEP_ASAN "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
option(LOCKSTEP_TSAN "Build with ThreadSanitizer: what tests/unit/CMakeLists.txt calls threaded" OFF)
option(LOCKSTEP_FUZZ "Build the libFuzzer targets (needs clang)" OFF)

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
# CHECK stays in release builds; DCHECK is for debug builds (common/error.h).
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1 -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

# What every target of the project is compiled with.  Third-party sources do not use it.
add_library(lockstep_flags INTERFACE)
target_compile_definitions(lockstep_flags INTERFACE _GNU_SOURCE)
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH LOCKSTEP_ROOT)
target_include_directories(lockstep_flags INTERFACE ${LOCKSTEP_ROOT})
target_compile_options(lockstep_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
    -ffp-contract=off -fno-strict-aliasing)
if(LOCKSTEP_ASAN)
    add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
    add_compile_definitions(LOCKSTEP_SANITIZED=1)
elseif(LOCKSTEP_TSAN)
    add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
    add_link_options(-fsanitize=thread)
    add_compile_definitions(LOCKSTEP_SANITIZED=1)
elseif(LOCKSTEP_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
    add_link_options(-fsanitize=address,undefined)
    add_compile_definitions(LOCKSTEP_SANITIZED=1)
endif()
