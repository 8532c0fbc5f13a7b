/* tests/support/folder.h - a folder for one test, removed with all in it. */
#ifndef TB_TESTS_SUPPORT_FOLDER_H
#define TB_TESTS_SUPPORT_FOLDER_H

#include <stddef.h>

/* As setup and teardown of a cmocka test: *state is the path of a new empty
 * folder (const char *); teardown removes the tree. */
int tb_test_folder_setup(void **state);
int tb_test_folder_teardown(void **state);

/* "folder/name" in one of a few static buffers: use it before the next eight
 * calls. */
const char *tb_test_folder_path(const char *folder, const char *name);

/* Writes a file "folder/name" and returns its path, as tb_test_folder_path. */
const char *tb_test_folder_write(const char *folder, const char *name,
                                 const void *bytes, size_t len);

#endif
