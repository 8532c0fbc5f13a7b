# The same loops once per instruction set. Without trapping math a select needs
# no branch, and without errno a root needs no call; that changes no bits.
set(loops -fno-trapping-math -fno-math-errno)
set_source_files_properties(core/tensor/kernels_portable.c
  core/tensor/gemm_int8_portable.c
  core/tensor/conv_portable.c core/tensor/pool_portable.c PROPERTIES
  COMPILE_OPTIONS "${loops}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64")
  target_compile_definitions(tb_tensor PRIVATE TB_K_X86)
  set_source_files_properties(
    core/tensor/kernels_avx2.c core/tensor/gemm_avx2.c
    core/tensor/gemm_int8_avx2.c
    core/tensor/conv_avx2.c core/tensor/pool_avx2.c PROPERTIES
    COMPILE_OPTIONS "${loops};-mavx2;-mfma")
  set_source_files_properties(
    core/tensor/kernels_avx512.c core/tensor/gemm_avx512.c
    core/tensor/gemm_avx512_narrow.c
    core/tensor/conv_avx512.c core/tensor/pool_avx512.c PROPERTIES
    COMPILE_OPTIONS "${loops};-mavx512f;-mavx512vl;-mavx512bw;-mavx512dq;-mfma;-mprefer-vector-width=512")
  set_source_files_properties(core/tensor/gemm_int8_vnni.c PROPERTIES
    COMPILE_OPTIONS "${loops};-mavx512f;-mavx512vl;-mavx512bw;-mavx512dq;-mavx512vnni;-mfma;-mprefer-vector-width=512")
else()
  set_source_files_properties(
    core/tensor/kernels_avx2.c core/tensor/gemm_avx2.c
    core/tensor/kernels_avx512.c core/tensor/gemm_avx512.c
    core/tensor/gemm_int8_avx2.c core/tensor/gemm_int8_vnni.c
    core/tensor/conv_avx2.c core/tensor/conv_avx512.c
    core/tensor/pool_avx2.c core/tensor/pool_avx512.c
    core/tensor/gemm_avx512_narrow.c
    PROPERTIES HEADER_FILE_ONLY ON)
endif()
# Long lists of short loops are vectorised, but not cloned and peeled besides,
# and not once more for what is left at their ends: that would be a tenth of the
# programs' size.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "Release")
  set_property(SOURCE core/tensor/kernels_portable.c core/tensor/kernels_avx2.c
    core/tensor/kernels_avx512.c APPEND PROPERTY
    COMPILE_OPTIONS -O2 -ftree-vectorize -fvect-cost-model=dynamic)
  set_property(SOURCE core/tensor/kernels_portable.c core/tensor/kernels_avx2.c
    core/tensor/kernels_avx512.c core/tensor/conv_portable.c
    core/tensor/conv_avx2.c core/tensor/pool_portable.c
    core/tensor/pool_avx2.c
    APPEND PROPERTY COMPILE_OPTIONS --param=vect-epilogues-nomask=0)
endif()
# Packing runs once a model: small code, not the fastest.
set_source_files_properties(core/tensor/gemm_int8.c PROPERTIES
  COMPILE_OPTIONS -O2)
