# lwIP from Debian's source package: a patched copy in the build folder, compiled with stack/tcpip/lwipopts.h.
# Patches live in stack/tcpip/patches, are applied in name order, and are tried with a dry run first.
set(LWIP_DIR ${CMAKE_BINARY_DIR}/lwip)
file(GLOB LWIP_PATCHES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/stack/tcpip/patches/*.patch)
set(LWIP_STAMP "")
foreach(patch IN LISTS LWIP_PATCHES)
    file(SHA256 ${patch} hash)
    string(APPEND LWIP_STAMP ${hash})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${patch})
endforeach()
set(LWIP_HAVE "none")
if(EXISTS ${LWIP_DIR}/patched)
    file(READ ${LWIP_DIR}/patched LWIP_HAVE)
endif()
if(NOT LWIP_HAVE STREQUAL "${LWIP_STAMP}")
    file(REMOVE_RECURSE ${LWIP_DIR})
    file(COPY ${DEPS}/lwip/src DESTINATION ${LWIP_DIR})
    # the sources have DOS line ends, the patches have not
    execute_process(COMMAND find src -name *.[ch] -exec sed -i "s/\r$//" {} + WORKING_DIRECTORY ${LWIP_DIR}
        COMMAND_ERROR_IS_FATAL ANY)
    foreach(patch IN LISTS LWIP_PATCHES)
        execute_process(COMMAND patch -p1 --forward --dry-run -i ${patch} WORKING_DIRECTORY ${LWIP_DIR}
            OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
        execute_process(COMMAND patch -p1 --forward -i ${patch} WORKING_DIRECTORY ${LWIP_DIR}
            OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
    file(WRITE ${LWIP_DIR}/patched "${LWIP_STAMP}")
endif()
file(GLOB LWIP_SOURCES ${LWIP_DIR}/src/core/*.c ${LWIP_DIR}/src/core/ipv4/*.c ${LWIP_DIR}/src/core/ipv6/*.c)
add_library(lwip STATIC ${LWIP_SOURCES})
target_include_directories(lwip SYSTEM PUBLIC ${LWIP_DIR}/src/include ${CMAKE_SOURCE_DIR}/stack/tcpip)
# lwIP shifts bytes into the sign bit of an int, which gcc and clang define.
target_compile_options(lwip PRIVATE -w -fno-sanitize=shift)
