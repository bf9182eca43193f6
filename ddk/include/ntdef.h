/*
 * ntdef.h: base types of kernel code for x64, written from public documentation.
 */
#ifndef _NTDEF_
#define _NTDEF_

#include <sal.h>

#define NTAPI __stdcall
#define NTSYSAPI
#define NTSYSCALLAPI
#define NTKERNELAPI
#define NTHALAPI
#define DECLSPEC_IMPORT
#define DECLSPEC_NORETURN __declspec(noreturn)
#define DECLSPEC_ALIGN(x) __declspec(align(x))
#define DECLSPEC_SELECTANY __declspec(selectany)
#define FASTCALL __fastcall
#define CDECL __cdecl
#ifndef FORCEINLINE
#define FORCEINLINE static __inline __attribute__((always_inline, unused))
#endif
#define CFORCEINLINE FORCEINLINE
#define CONST const
#define FAR
#define PASCAL __stdcall
#define OPTIONAL
#define IN
#define OUT
#define VOID void
#define UNALIGNED __unaligned
#define RESTRICTED_POINTER
#define POINTER_64 __ptr64
#ifndef _AMD64_
#define _AMD64_ 1
#endif

#ifdef __cplusplus
#define EXTERN_C extern "C"
#define EXTERN_C_START extern "C" {
#define EXTERN_C_END }
#define NTIO_STATIC_ASSERT(e, m) static_assert(e, m)
#else
#define EXTERN_C extern
#define EXTERN_C_START
#define EXTERN_C_END
#define NTIO_STATIC_ASSERT(e, m) _Static_assert(e, m)
typedef unsigned short wchar_t;
#endif
#define C_ASSERT(e) NTIO_STATIC_ASSERT(e, #e)

EXTERN_C_START

typedef unsigned long long size_t;
typedef long long ptrdiff_t, intptr_t;
typedef unsigned long long uintptr_t;
typedef __builtin_va_list va_list;
#define va_start(list, last) __builtin_va_start(list, last)
#define va_arg(list, type) __builtin_va_arg(list, type)
#define va_end(list) __builtin_va_end(list)

#ifndef NULL
#ifdef __cplusplus
#define NULL 0
#else
#define NULL ((void *)0)
#endif
#endif
#define TRUE 1
#define FALSE 0

typedef void *PVOID, *HANDLE, **PHANDLE, *HINSTANCE, *PVOID64;
typedef const void *PCVOID;
typedef char CHAR, *PCHAR, *PSTR, *LPSTR, *NPSTR, CCHAR, *PCCHAR, *PSZ, *PNZCH;
typedef const char *PCSTR, *LPCSTR, *PCSZ, *LPCCH;
typedef signed char SCHAR;
typedef unsigned char UCHAR, *PUCHAR, BYTE, *PBYTE, BOOLEAN, *PBOOLEAN;
typedef const UCHAR *PCUCHAR;
typedef short SHORT, *PSHORT, CSHORT, *PCSHORT;
typedef unsigned short USHORT, *PUSHORT, WORD, *PWORD;
typedef int INT, *PINT, BOOL, *PBOOL;
typedef unsigned int UINT, *PUINT;
typedef long LONG, *PLONG, NTSTATUS, *PNTSTATUS, HRESULT, INT32, *PINT32;
typedef unsigned long ULONG, *PULONG, DWORD, *PDWORD, CLONG, *PCLONG, LOGICAL, *PLOGICAL;
typedef unsigned int UINT32, *PUINT32, ULONG32, *PULONG32, DWORD32;
typedef signed char INT8, *PINT8;
typedef unsigned char UINT8, *PUINT8;
typedef short INT16, *PINT16;
typedef unsigned short UINT16, *PUINT16;
typedef __int64 LONGLONG, *PLONGLONG, LONG64, *PLONG64, INT64, *PINT64, USN;
typedef unsigned __int64 ULONGLONG, *PULONGLONG, ULONG64, *PULONG64, UINT64, *PUINT64, DWORD64, *PDWORD64, DWORDLONG;
typedef __int64 INT_PTR, *PINT_PTR, LONG_PTR, *PLONG_PTR, SSIZE_T, *PSSIZE_T;
typedef unsigned __int64 UINT_PTR, *PUINT_PTR, ULONG_PTR, *PULONG_PTR, DWORD_PTR, *PDWORD_PTR, SIZE_T, *PSIZE_T, KAFFINITY, *PKAFFINITY;
typedef wchar_t WCHAR, *PWCHAR, *PWSTR, *LPWSTR, *PWCH, *NWPSTR, *PZZWSTR;
typedef const WCHAR *PCWSTR, *LPCWSTR, *PCWCH, *PCNZWCH, *PCZZWSTR;
typedef double DOUBLE;
typedef float FLOAT;
typedef UCHAR KIRQL, *PKIRQL;
typedef ULONG LCID, ACCESS_MASK, *PACCESS_MASK, EXECUTION_STATE;
typedef CCHAR KPROCESSOR_MODE;
typedef PVOID PSECURITY_DESCRIPTOR, PSID;

typedef union _LARGE_INTEGER {
    struct {
        ULONG LowPart;
        LONG HighPart;
    };
    struct {
        ULONG LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;

typedef union _ULARGE_INTEGER {
    struct {
        ULONG LowPart;
        ULONG HighPart;
    };
    struct {
        ULONG LowPart;
        ULONG HighPart;
    } u;
    ULONGLONG QuadPart;
} ULARGE_INTEGER, *PULARGE_INTEGER;

typedef LARGE_INTEGER PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

typedef struct _LUID {
    ULONG LowPart;
    LONG HighPart;
} LUID, *PLUID;

typedef struct _UNICODE_STRING {
    USHORT Length;
    USHORT MaximumLength;
    PWCH Buffer;
} UNICODE_STRING, *PUNICODE_STRING;
typedef const UNICODE_STRING *PCUNICODE_STRING;

typedef struct _STRING {
    USHORT Length;
    USHORT MaximumLength;
    PCHAR Buffer;
} STRING, *PSTRING, ANSI_STRING, *PANSI_STRING, OEM_STRING, *POEM_STRING, UTF8_STRING, *PUTF8_STRING;
typedef const STRING *PCSTRING, *PCANSI_STRING, *PCOEM_STRING;

#define UNICODE_NULL ((WCHAR)0)
#define ANSI_NULL ((CHAR)0)
#define RTL_CONSTANT_STRING(s) { sizeof(s) - sizeof((s)[0]), sizeof(s), (s) }
#define DECLARE_CONST_UNICODE_STRING(name, text)       \
    static const WCHAR name##_buffer[] = text;         \
    static const UNICODE_STRING name = {               \
        sizeof(text) - sizeof(WCHAR), sizeof(text), (PWCH)name##_buffer }
#define DECLARE_UNICODE_STRING_SIZE(name, count)       \
    WCHAR name##_buffer[count];                        \
    UNICODE_STRING name = { 0, (count) * sizeof(WCHAR), name##_buffer }

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink;
    struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY, *PRLIST_ENTRY;

typedef struct _SINGLE_LIST_ENTRY {
    struct _SINGLE_LIST_ENTRY *Next;
} SINGLE_LIST_ENTRY, *PSINGLE_LIST_ENTRY;

typedef struct _GUID {
    ULONG Data1;
    USHORT Data2;
    USHORT Data3;
    UCHAR Data4[8];
} GUID, *LPGUID, IID, CLSID;
typedef const GUID *LPCGUID;
#define GUID_DEFINED
#ifdef __cplusplus
#define REFGUID const GUID &
#define REFIID const GUID &
#define REFCLSID const GUID &
#else
#define REFGUID const GUID *
#define REFIID const GUID *
#define REFCLSID const GUID *
#endif
#define __uuidof_unsupported

typedef struct _OBJECT_ATTRIBUTES {
    ULONG Length;
    HANDLE RootDirectory;
    PUNICODE_STRING ObjectName;
    ULONG Attributes;
    PVOID SecurityDescriptor;
    PVOID SecurityQualityOfService;
} OBJECT_ATTRIBUTES, *POBJECT_ATTRIBUTES;
typedef const OBJECT_ATTRIBUTES *PCOBJECT_ATTRIBUTES;

#define OBJ_INHERIT 0x00000002L
#define OBJ_PERMANENT 0x00000010L
#define OBJ_EXCLUSIVE 0x00000020L
#define OBJ_CASE_INSENSITIVE 0x00000040L
#define OBJ_OPENIF 0x00000080L
#define OBJ_OPENLINK 0x00000100L
#define OBJ_KERNEL_HANDLE 0x00000200L
#define OBJ_FORCE_ACCESS_CHECK 0x00000400L
#define OBJ_DONT_REPARSE 0x00001000L

#define InitializeObjectAttributes(p, n, a, r, s)      \
    {                                                  \
        (p)->Length = sizeof(OBJECT_ATTRIBUTES);       \
        (p)->RootDirectory = (r);                      \
        (p)->Attributes = (a);                         \
        (p)->ObjectName = (n);                         \
        (p)->SecurityDescriptor = (s);                 \
        (p)->SecurityQualityOfService = NULL;          \
    }

#define NT_SUCCESS(s) (((NTSTATUS)(s)) >= 0)
#define NT_INFORMATION(s) ((((ULONG)(s)) >> 30) == 1)
#define NT_WARNING(s) ((((ULONG)(s)) >> 30) == 2)
#define NT_ERROR(s) ((((ULONG)(s)) >> 30) == 3)

#define ANYSIZE_ARRAY 1
#define MAXUCHAR 0xff
#define MAXUSHORT 0xffff
#define MAXSHORT 0x7fff
#define MAXULONG 0xffffffffUL
#define MAXLONG 0x7fffffffL
#define MINLONG 0x80000000L
#define MAXLONGLONG 0x7fffffffffffffffLL
#define MAXULONGLONG 0xffffffffffffffffULL
#define MAXULONG_PTR (~((ULONG_PTR)0))
#define MAXDWORD 0xffffffffUL
#define UNICODE_STRING_MAX_BYTES ((USHORT)65534)
#define UNICODE_STRING_MAX_CHARS (32767)

#define FIELD_OFFSET(t, f) ((LONG)__builtin_offsetof(t, f))
#define UFIELD_OFFSET(t, f) ((ULONG)__builtin_offsetof(t, f))
#define offsetof(t, f) __builtin_offsetof(t, f)
#define RTL_FIELD_SIZE(t, f) (sizeof(((t *)0)->f))
#define RTL_SIZEOF_THROUGH_FIELD(t, f) (FIELD_OFFSET(t, f) + RTL_FIELD_SIZE(t, f))
#define RTL_CONTAINS_FIELD(p, size, f) ((((PCHAR)(&(p)->f)) + sizeof((p)->f)) <= (((PCHAR)(p)) + (size)))
#define RTL_NUMBER_OF(a) (sizeof(a) / sizeof((a)[0]))
#define ARRAYSIZE(a) RTL_NUMBER_OF(a)
#define CONTAINING_RECORD(p, t, f) ((t *)((PCHAR)(p) - (ULONG_PTR)FIELD_OFFSET(t, f)))
#define UNREFERENCED_PARAMETER(x) ((void)(x))
#define DBG_UNREFERENCED_PARAMETER(x) ((void)(x))
#define DBG_UNREFERENCED_LOCAL_VARIABLE(x) ((void)(x))
#define DEFINE_ENUM_FLAG_OPERATORS(t)
#define DECLARE_HANDLE(n) typedef struct n##__ { int unused; } *n
#define DUMMYUNIONNAME
#define DUMMYUNIONNAME2
#define DUMMYSTRUCTNAME
#ifndef min
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#endif
#define FlagOn(f, b) ((f) & (b))
#define BooleanFlagOn(f, b) ((BOOLEAN)(((f) & (b)) != 0))
#define SetFlag(f, b) ((f) |= (b))
#define ClearFlag(f, b) ((f) &= ~(b))
#define LOWORD(l) ((WORD)((ULONG_PTR)(l) & 0xffff))
#define HIWORD(l) ((WORD)(((ULONG_PTR)(l) >> 16) & 0xffff))
#define MAKELONG(a, b) ((LONG)(((WORD)(a)) | ((DWORD)((WORD)(b))) << 16))
#define Int32x32To64(a, b) ((LONGLONG)(LONG)(a) * (LONGLONG)(LONG)(b))
#define UInt32x32To64(a, b) ((ULONGLONG)(ULONG)(a) * (ULONGLONG)(ULONG)(b))
#define PtrToUlong(p) ((ULONG)(ULONG_PTR)(p))
#define PtrToLong(p) ((LONG)(LONG_PTR)(p))
#define UlongToPtr(u) ((PVOID)(ULONG_PTR)(ULONG)(u))
#define LongToPtr(l) ((PVOID)(LONG_PTR)(LONG)(l))
#define HandleToULong(h) ((ULONG)(ULONG_PTR)(h))
#define HandleToUlong(h) HandleToULong(h)
#define ULongToHandle(u) ((HANDLE)(ULONG_PTR)(u))
#define Add2Ptr(p, n) ((PVOID)((PUCHAR)(p) + (n)))
#define NOTHING
#define TEXT(s) L##s

/* __try and friends are keywords of the compiler; these are its intrinsics under the usual names. */
#define try __try
#define except __except
#define finally __finally
#define leave __leave
#define GetExceptionCode _exception_code
#define GetExceptionInformation (struct _EXCEPTION_POINTERS *)_exception_info
#define AbnormalTermination _abnormal_termination
#define EXCEPTION_EXECUTE_HANDLER 1
#define EXCEPTION_CONTINUE_SEARCH 0
#define EXCEPTION_CONTINUE_EXECUTION (-1)
unsigned long __cdecl _exception_code(void);
void *__cdecl _exception_info(void);
int __cdecl _abnormal_termination(void);

/* Leaf routines that compilers call on their own, and the usual C string routines; all are exports of ntoskrnl.exe. */
void *__cdecl memcpy(void *to, const void *from, size_t n);
void *__cdecl memmove(void *to, const void *from, size_t n);
void *__cdecl memset(void *to, int value, size_t n);
int __cdecl memcmp(const void *a, const void *b, size_t n);
size_t __cdecl strlen(const char *s);
int __cdecl strcmp(const char *a, const char *b);
int __cdecl strncmp(const char *a, const char *b, size_t n);
int __cdecl _stricmp(const char *a, const char *b);
char *__cdecl strcpy(char *to, const char *from);
char *__cdecl strchr(const char *s, int c);
char *__cdecl strrchr(const char *s, int c);
char *__cdecl strstr(const char *s, const char *part);
int __cdecl _strnicmp(const char *a, const char *b, size_t n);
wchar_t *__cdecl wcsstr(const wchar_t *s, const wchar_t *part);
size_t __cdecl wcslen(const wchar_t *s);
wchar_t *__cdecl wcscpy(wchar_t *to, const wchar_t *from);
wchar_t *__cdecl wcscat(wchar_t *to, const wchar_t *from);
wchar_t *__cdecl wcschr(const wchar_t *s, wchar_t c);
wchar_t *__cdecl wcsrchr(const wchar_t *s, wchar_t c);
int __cdecl wcscmp(const wchar_t *a, const wchar_t *b);
int __cdecl wcsncmp(const wchar_t *a, const wchar_t *b, size_t n);
int __cdecl _wcsicmp(const wchar_t *a, const wchar_t *b);
int __cdecl _wcsnicmp(const wchar_t *a, const wchar_t *b, size_t n);
int __cdecl _vsnprintf(char *to, size_t n, const char *format, va_list list);
int __cdecl _snprintf(char *to, size_t n, const char *format, ...);
int __cdecl _vsnwprintf(wchar_t *to, size_t n, const wchar_t *format, va_list list);
int __cdecl _snwprintf(wchar_t *to, size_t n, const wchar_t *format, ...);

EXTERN_C_END

#include <guiddef.h>

#endif
