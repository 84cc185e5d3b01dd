// Marks what the shared library exports: libbelfry is built with hidden visibility.
#pragma once

#define BELFRY_EXPORT __attribute__((visibility("default")))
