// What ended a group, as a sentence: Group::status(), belfryd's log and `belfry run` say the same.
#pragma once

#include <cstdint>
#include <string>

#include "belfry/uapi/panthor_drm.h"

namespace belfry::uapi {

/// By what GROUP_GET_FAULT and GROUP_GET_STATE answer; empty of a group that has not ended.
std::string fault_text(const belfry_group_get_fault& fault, std::uint32_t state);

}  // namespace belfry::uapi
