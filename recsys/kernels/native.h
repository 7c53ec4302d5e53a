/*
 * Plain C without Python's headers, so that a compiler is enough. Every function has a reference in Python beside its
 * caller and gives the same bits: sums are taken in the same order, and the compiler may not contract them
 * (-ffp-contract=off). Callers check shapes and types; here nothing is checked.
 */

#include <math.h>
#include <stdint.h>

#ifdef _WIN32
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif
