// All of the client library.
#pragma once

#include "belfry/buffer.hpp"
#include "belfry/command_writer.hpp"
#include "belfry/device.hpp"
#include "belfry/disassembler.hpp"
#include "belfry/error.hpp"
#include "belfry/eventfd_waits.hpp"
#include "belfry/group.hpp"
#include "belfry/submit_ring.hpp"
#include "belfry/sync_object.hpp"
#include "belfry/syncobj.hpp"
#include "belfry/vm.hpp"
#include "belfry/xgs_queue.hpp"
