/* core/base/attr.h - compiler attributes under short names. */
#ifndef TB_BASE_ATTR_H
#define TB_BASE_ATTR_H

#define TB_NONNULL(...)     __attribute__((nonnull(__VA_ARGS__)))
#define TB_MUST_CHECK       __attribute__((warn_unused_result))
#define TB_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))

#endif
