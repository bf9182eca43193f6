/*
 * guiddef.h: DEFINE_GUID declares a GUID, or defines it after initguid.h.
 */
#include <ntdef.h>
#undef DEFINE_GUID
#ifdef INITGUID
#ifdef __cplusplus
#define DEFINE_GUID(name, a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) \
    EXTERN_C const GUID DECLSPEC_SELECTANY name = { a, b, c, { d0, d1, d2, d3, d4, d5, d6, d7 } }
#else
#define DEFINE_GUID(name, a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) \
    const GUID DECLSPEC_SELECTANY name = { a, b, c, { d0, d1, d2, d3, d4, d5, d6, d7 } }
#endif
#else
#define DEFINE_GUID(name, a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) EXTERN_C const GUID name
#endif
#ifndef _NTIO_GUIDDEF
#define _NTIO_GUIDDEF
#define IsEqualGUIDAligned(a, b) \
    ((((const ULONGLONG *)(a))[0] == ((const ULONGLONG *)(b))[0]) && (((const ULONGLONG *)(a))[1] == ((const ULONGLONG *)(b))[1]))
#ifdef __cplusplus
#define IsEqualGUID(a, b) (memcmp(&(a), &(b), sizeof(GUID)) == 0)
#else
#define IsEqualGUID(a, b) (memcmp((a), (b), sizeof(GUID)) == 0)
#endif
#define IsEqualIID(a, b) IsEqualGUID(a, b)
#endif
