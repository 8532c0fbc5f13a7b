# Warnings, hardening and sanitizers: one interface target that all our code
# links. Generated code links tb_generated instead.
add_library(tb_flags INTERFACE)
add_library(tb_generated INTERFACE)

target_compile_definitions(tb_flags INTERFACE _GNU_SOURCE
  TB_VERSION="${PROJECT_VERSION}")
target_compile_options(tb_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
  -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wformat=2
  -Wswitch-enum -Wnull-dereference -Wimplicit-fallthrough -Wcast-qual
  -Wwrite-strings -fno-common -ffp-contract=off -fno-math-errno)
if(TB_WERROR)
  target_compile_options(tb_flags INTERFACE -Werror)
endif()

# Every translation unit, generated ones too.
add_compile_options(-fstack-protector-strong -fPIC)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1") # asserts stay: no NDEBUG
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_definitions(_FORTIFY_SOURCE=3)
  # A tenth of a program would be tables for exceptions and relocations.
  add_compile_options(-ffunction-sections -fdata-sections
    -fno-asynchronous-unwind-tables)
  add_link_options(-Wl,--gc-sections -Wl,-z,noseparate-code)
  include(CheckLinkerFlag)
  check_linker_flag(C -Wl,-z,pack-relative-relocs TB_PACKS_RELOCATIONS)
  if(TB_PACKS_RELOCATIONS)
    add_link_options(-Wl,-z,pack-relative-relocs)
  endif()
endif()
add_link_options(-Wl,-z,relro,-z,now)

if(TB_SANITIZE)
  add_compile_options(-fsanitize=${TB_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TB_SANITIZE})
endif()
if(TB_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
