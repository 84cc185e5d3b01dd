// Messages: who runs which message instruction.
//
// Each bind_*() is given an operation of its file's, all of it filled in but for the handler and its cost,
// which it chooses. The encoding is valid: staging registers are as many as the other fields ask for, and
// exist. False: there is no such handler, and the instruction is an invalid one.
#pragma once

#include "belfry/uapi/valhall.hpp"
#include "gpu/shader/access.hpp"
#include "gpu/shader/warp.hpp"

namespace belfry::gpu::shader {

bool bind_load_store(Op& op);  // LOAD, STORE
bool bind_atomic(Op& op);      // ATOM, ATOM_RETURN, ATOM1_RETURN
bool bind_buffer(Op& op);      // LD_BUFFER, LEA_BUFFER, LEA_BUF_IMM
bool bind_clock(Op& op);       // LD_GCLK
bool bind_image(Op& op);       // LD_TEX, LEA_TEX, ST_CVT
bool bind_attribute(Op& op);   // LD_ATTR, LEA_ATTR
bool bind_texture(Op& op);     // TEX_SINGLE, TEX_FETCH, TEX_GATHER, TEX_GRADIENT

/// Where LOAD and LD_BUFFER of 8, 16 and 32 bits put what they load.
Placement placement_of(const Op& op);

}  // namespace belfry::gpu::shader
