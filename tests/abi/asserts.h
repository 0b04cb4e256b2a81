/* SPDX-License-Identifier: MIT */
/*
 * Static assertions about the interface, in C and C++. OURS is 1 when the project's headers are
 * tested, 0 for others.
 */
#pragma once

#if defined(KM_EXPORTED_DATA)
#define OURS 1
#else
#define OURS 0
#endif

#ifdef __cplusplus
#define CHECK(expression) static_assert(expression, #expression)
template <class One, class Two> struct same_type {
	static constexpr bool value = false;
};
template <class One> struct same_type<One, One> {
	static constexpr bool value = true;
};
#define SAME_TYPE(one, two) (same_type<one, two>::value)
#else
#define CHECK(expression)   _Static_assert(expression, #expression)
#define SAME_TYPE(one, two) __builtin_types_compatible_p(one, two)
#endif

#define SIZE(type, size)        CHECK(sizeof(type) == (size))
#define AT(type, member, where) CHECK(__builtin_offsetof(type, member) == (where))
/* A member's place and width. */
#define MEMBER(type, member, where, size)                                                          \
	AT(type, member, where);                                                                   \
	CHECK(sizeof(((type *)0)->member) == (size))
#define VALUE(name, number)  CHECK((name) == (number))
#define STATUS(name, number) CHECK((unsigned int)(name) == (number) && sizeof(name) == 4)
