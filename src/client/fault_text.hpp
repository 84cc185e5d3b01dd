// What ended a group, as a sentence.
#pragma once

#include <string>

#include "belfry/uapi/panthor_drm.h"

namespace belfry::client {

std::string fault_text(const uapi::belfry_group_get_fault& fault, std::uint32_t state);

}  // namespace belfry::client
