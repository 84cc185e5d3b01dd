// Translation by page tables, and what the GPU does about an access that has none: page faults, flushes,
// address spaces that the driver disables.
#include <cstdint>
#include <memory>

#include <gtest/gtest.h>

#include "unit/gpu_rig.hpp"

namespace belfry::gpu {
namespace {

using csf::Condition;

// --- translation by itself ---

class Translation : public testing::Test {
  protected:
    Translation() { space.enable(vm.root()); }
    Exception fault_of(std::uint64_t va, Access access) {
        EXPECT_EQ(space.translate(va, access), nullptr);
        EXPECT_EQ(space.fault().address, va);
        EXPECT_EQ(space.fault().access, access);
        return space.fault().type;
    }

    Vm vm{1};
    AddressSpace space;
};

TEST_F(Translation, FindsEveryByteOfAPage) {
    const Memory page = vm.memory();
    EXPECT_EQ(space.translate(page.va, Access::read), page.host);
    EXPECT_EQ(space.translate(page.va + 4095, Access::write), page.host + 4095);
    EXPECT_EQ(space.translate(page.va + 17, Access::execute), page.host + 17);
    EXPECT_EQ(space.translate(page.va + 16, Access::atomic), page.host + 16);
}

TEST_F(Translation, NeighbouringPagesMayLieAnywhere) {
    const Memory first = vm.pages_of(1, 0x5000'0000);
    const Memory second = vm.pages_of(1, 0x5000'1000);
    vm.map(first.va, first.host, 1);
    vm.map(second.va, second.host, 1);
    EXPECT_EQ(space.translate(0x5000'0ffc, Access::read), first.host + 0xffc);
    EXPECT_EQ(space.translate(0x5000'1000, Access::read), second.host);
}

TEST_F(Translation, FindsTheBytesOfA2MiBBlock) {
    struct alignas(kBlock) Block {
        std::byte bytes[kBlock];
    };
    const auto block = std::make_unique_for_overwrite<Block>();
    vm.map_block(0x4000'0000, block->bytes);
    EXPECT_EQ(space.translate(0x4000'0000, Access::write), block->bytes);
    EXPECT_EQ(space.translate(0x4000'1008, Access::read), block->bytes + 0x1008);
    EXPECT_EQ(space.translate(0x401f'ffff, Access::read), block->bytes + 0x1f'ffff);
    EXPECT_EQ(fault_of(0x4020'0000, Access::read), Exception::translation_fault_2);
}

TEST_F(Translation, UsesAll48Bits) {
    const Memory page = vm.pages_of(1, 0xffff'ffff'f000);
    vm.map(page.va, page.host, 1);
    EXPECT_EQ(space.translate(0xffff'ffff'ffff, Access::read), page.host + 4095);
    const Memory zero = vm.pages_of(1, 0);
    vm.map(0, zero.host, 1);
    EXPECT_EQ(space.translate(0, Access::read), zero.host);
}

TEST_F(Translation, AddressesOfMoreThan48BitsAreRefused) {
    const Memory page = vm.memory();
    EXPECT_EQ(fault_of(page.va | 1ULL << 48, Access::read), Exception::addr_size_fault_in);
    EXPECT_EQ(fault_of(~0ULL, Access::write), Exception::addr_size_fault_in);
}

TEST_F(Translation, AFaultSaysAtWhichLevelTheTablesEnd) {
    constexpr std::uint64_t kVa = 0x0123'4567'8000;
    EXPECT_EQ(fault_of(kVa, Access::read), Exception::translation_fault_0);
    vm.entry(kVa, 1);
    EXPECT_EQ(fault_of(kVa, Access::read), Exception::translation_fault_1);
    vm.entry(kVa, 2);
    EXPECT_EQ(fault_of(kVa, Access::write), Exception::translation_fault_2);
    vm.entry(kVa, 3);
    EXPECT_EQ(fault_of(kVa, Access::execute), Exception::translation_fault_3);
    const Memory page = vm.pages_of(1, kVa);
    vm.map(kVa, page.host, 1);
    EXPECT_EQ(space.translate(kVa, Access::read), page.host);
}

TEST_F(Translation, ReadOnlyPagesRefuseWritesAndAtomics) {
    const Memory page = vm.memory(1, {.read_only = true});
    EXPECT_EQ(fault_of(page.va, Access::write), Exception::perm_fault_3);
    EXPECT_EQ(fault_of(page.va + 8, Access::atomic), Exception::perm_fault_3);
    EXPECT_EQ(space.translate(page.va, Access::read), page.host);
    EXPECT_EQ(space.translate(page.va, Access::execute), page.host);
    EXPECT_EQ(fault_of(page.va, Access::write), Exception::perm_fault_3);  // also once the page is known
}

TEST_F(Translation, NoExecPagesRefuseExecutionOnly) {
    const Memory page = vm.memory(1, {.no_exec = true});
    EXPECT_EQ(fault_of(page.va, Access::execute), Exception::perm_fault_3);
    EXPECT_EQ(space.translate(page.va, Access::read), page.host);
    EXPECT_EQ(space.translate(page.va, Access::write), page.host);
    EXPECT_EQ(fault_of(page.va, Access::execute), Exception::perm_fault_3);
}

TEST_F(Translation, RightsOfABlockAreThoseOfItsEntry) {
    struct alignas(kBlock) Block {
        std::byte bytes[kBlock];
    };
    const auto block = std::make_unique_for_overwrite<Block>();
    vm.map_block(0x4000'0000, block->bytes, {.read_only = true, .no_exec = true});
    EXPECT_EQ(fault_of(0x4000'3000, Access::write), Exception::perm_fault_2);
    EXPECT_EQ(fault_of(0x4000'3000, Access::execute), Exception::perm_fault_2);
    EXPECT_EQ(space.translate(0x4000'3000, Access::read), block->bytes + 0x3000);
}

TEST_F(Translation, ANewMappingIsSeenWithoutFlush) {
    const Memory page = vm.pages_of(1, 0x5000'0000);
    EXPECT_EQ(fault_of(0x5000'0000, Access::read), Exception::translation_fault_0);
    vm.map(0x5000'0000, page.host, 1);
    EXPECT_EQ(space.translate(0x5000'0000, Access::read), page.host);
}

TEST_F(Translation, AChangedMappingIsHonouredAfterTheFlush) {
    const Memory page = vm.memory();
    const Memory other = vm.pages_of(1, 0);
    space.translate(page.va, Access::read);
    vm.map(page.va, other.host, 1);
    std::byte* const before = space.translate(page.va, Access::read);
    EXPECT_TRUE(before == page.host || before == other.host);  // either is allowed until then
    space.flush();
    EXPECT_EQ(space.translate(page.va, Access::read), other.host);
    vm.unmap(page.va);
    space.flush();
    EXPECT_EQ(fault_of(page.va, Access::read), Exception::translation_fault_3);
}

TEST_F(Translation, PagesThatShareATlbEntryAreNotMixedUp) {
    // 1024 entries, direct-mapped by page: these two collide.
    const Memory low = vm.pages_of(1, 0x5000'0000);
    const Memory high = vm.pages_of(1, 0x5000'0000 + 1024 * kPage);
    vm.map(low.va, low.host, 1);
    vm.map(high.va, high.host, 1, {.read_only = true});
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(space.translate(low.va, Access::write), low.host);
        EXPECT_EQ(fault_of(high.va, Access::write), Exception::perm_fault_3);
        EXPECT_EQ(space.translate(high.va, Access::read), high.host);
    }
}

TEST_F(Translation, NothingIsMappedWhileDisabled) {
    const Memory page = vm.memory();
    space.translate(page.va, Access::read);
    space.disable();
    EXPECT_FALSE(space.enabled());
    EXPECT_EQ(fault_of(page.va, Access::read), Exception::translation_fault_0);
    space.enable(vm.root());
    EXPECT_EQ(space.translate(page.va, Access::read), page.host);
}

TEST_F(Translation, TheGenerationChangesWheneverATranslationMay) {
    const std::uint64_t start = space.generation();
    space.flush();
    const std::uint64_t flushed = space.generation();
    EXPECT_NE(flushed, start);
    space.disable();
    const std::uint64_t disabled = space.generation();
    EXPECT_NE(disabled, flushed);
    space.enable(vm.root());
    EXPECT_NE(space.generation(), disabled);
}

// --- page faults of streams ---

class PageFaults : public testing::Test {
  protected:
    static constexpr std::uint64_t kNowhere = 0x0000'6000'0000;

    std::uint32_t status() { return rig.gpu.read(as_reg(1, AsReg::faultstatus)); }
    std::uint64_t address() { return rig.gpu.read64(as_reg(1, AsReg::faultaddress_lo)); }
    void store_to(Queue& to, std::uint64_t va) {
        to.run([&](W& w) {
            w.move48(d(66), va)
                .move32(r(70), 7)
                .store_multiple(r(70), 1, d(66))
                .wait(slots(0))
                .move32(r(0), 1);
        });
    }

    Rig rig{{.group_slots = 3, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    Queue& queue = group.queue(0);
    Queue& neighbour = group.queue(1);
    Memory memory = rig.memory();
};

TEST_F(PageFaults, RaiseTheMmuInterruptWithTypeAccessAndAddress) {
    rig.host.interrupts = 0;
    store_to(queue, kNowhere + 0x124);
    EXPECT_EQ(rig.take_mmu_interrupts(), mmu_int_fault(1));
    EXPECT_GE(rig.host.interrupts, 1u);
    EXPECT_EQ(fault_type(status()), 0xc1u);  // TRANSLATION_FAULT_1: its GiB has no table
    EXPECT_EQ(fault_access(status()), 3u);   // write
    EXPECT_EQ(fault_source(status()), 0u);
    EXPECT_EQ(address(), kNowhere + 0x124);
    EXPECT_EQ(queue.reg(0), 0u);
}

TEST_F(PageFaults, OfALoadAreReads) {
    queue.run([](W& w) { w.move48(d(66), kNowhere + 8).load_multiple(r(0), 1, d(66)).wait(slots(0)); });
    EXPECT_EQ(fault_access(status()), 2u);
    EXPECT_EQ(address(), kNowhere + 8);
}

TEST_F(PageFaults, OfAnInstructionFetchAreReadsOfItsAddress) {
    queue.run([](W& w) { w.move48(d(66), kNowhere + 0x88).move32(r(68), 16).call(d(66), r(68)); });
    EXPECT_EQ(fault_access(status()), 2u);
    EXPECT_EQ(address(), kNowhere + 0x88);
    EXPECT_EQ(queue.status(), StreamStatus::faulted);
}

TEST_F(PageFaults, OfEveryKindOfAccessStopTheStream) {
    const auto faults = [](auto instruction) {
        Rig own{{.group_slots = 1, .streams_per_group = 1}};
        Queue& only = own.group().queue(0);
        only.run([&](W& w) {
            w.move48(d(66), kNowhere);
            instruction(w);
            w.wait(kAllSlots).move32(r(0), 1);
        });
        return (own.take_mmu_interrupts() & mmu_int_fault(1)) != 0 && only.reg(0) == 0;
    };
    EXPECT_TRUE(faults([](W& w) { w.sync_add64(d(66), d(68)); }));
    EXPECT_TRUE(faults([](W& w) { w.sync_set32(d(66), r(68)); }));
    EXPECT_TRUE(faults([](W& w) { w.sync_wait64(d(66), Condition::le, d(68)); }));
    EXPECT_TRUE(faults([](W& w) { w.sync_wait32(d(66), Condition::le, r(68)); }));
    EXPECT_TRUE(faults([](W& w) { w.store_state(csf::State::timestamp, d(66)); }));
    EXPECT_TRUE(faults([](W& w) { w.load_multiple(r(0), 1, d(66)); }));
    EXPECT_TRUE(faults([](W& w) { w.store_multiple(r(0), 1, d(66)); }));
    EXPECT_FALSE(faults([](W& w) { w.nop(); }));
}

TEST_F(PageFaults, OfASyncUpdateOnAReadOnlyPageLeaveItAlone) {
    const Memory shared = rig.memory(1, {.read_only = true});
    shared.sync64() = {.value = 4, .error = 9, .waiters = 1};
    queue.run([&](W& w) { w.move48(d(66), shared.va).move48(d(68), 1).sync_add64(d(66), d(68)); });
    EXPECT_EQ(fault_type(status()), 0xcbu);  // PERM_FAULT_3
    EXPECT_EQ(fault_access(status()), 3u);
    EXPECT_EQ(shared.sync64().value, 4u);
    EXPECT_EQ(shared.sync64().error, 9u);
    EXPECT_TRUE(rig.host.wakes.empty());
}

TEST_F(PageFaults, DoNotStopWaitsOnReadOnlyPages) {
    const Memory shared = rig.memory(1, {.read_only = true, .no_exec = true});
    shared.sync64().value = 4;
    queue.run([&](W& w) {
        w.move48(d(66), shared.va).move48(d(68), 3).sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1);
    });
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST_F(PageFaults, InTheMiddleOfATransferNameTheSecondPage) {
    const Memory last = rig.memory();  // an unmapped page follows
    queue.run([&](W& w) {
        w.move48(d(66), last.va + kPage - 4)
            .move32(r(0), 1)
            .move32(r(1), 2)
            .store_multiple(r(0), 0b11, d(66));
    });
    EXPECT_EQ(address(), last.va + kPage);
}

TEST_F(PageFaults, KeepTheFirstOneUntilTheInterruptIsCleared) {
    store_to(queue, kNowhere);
    store_to(neighbour, kNowhere + 0x8000'0000);
    EXPECT_EQ(address(), kNowhere);
    rig.take_mmu_interrupts();
    Group& third = rig.group();
    store_to(third.queue(0), kNowhere + 0x100);
    EXPECT_EQ(address(), kNowhere + 0x100);
}

TEST_F(PageFaults, AreNeitherFatalNorIdleUntilTheDriverActs) {
    group.acknowledge(kGroupEvents);
    store_to(queue, kNowhere);
    EXPECT_EQ(queue.status(), StreamStatus::faulted);
    EXPECT_EQ(queue.fatal().type, Exception::ok);
    EXPECT_FALSE(group.event(kGroupIdle));
    queue.ring();
    queue.driver_ring();
    rig.run_until_idle();
    EXPECT_EQ(queue.reg(0), 0u);
}

TEST_F(PageFaults, EndEveryStreamOfTheSpaceOnceItIsDisabled) {
    Group& same_space = rig.group();
    Vm& second = rig.new_vm();
    Group& other_space = rig.group({.vm = &second});
    queue.run([&](W& w) {
        w.move48(d(66), kNowhere).move32(r(70), 7).store_multiple(r(70), 1, d(66)).nop().nop().wait(slots(0));
    });
    neighbour.submit([](W& w) { w.branch(Condition::always, r(0), -1); });  // for ever
    neighbour.ring();
    rig.step();
    rig.take_job_interrupts();

    rig.disable(rig.vm);

    // The culprit, with the instruction that issued the store.
    EXPECT_EQ(queue.fatal().type, Exception::cs_bus_fault);
    EXPECT_EQ(queue.fatal().info, kNowhere);
    EXPECT_EQ(queue.fatal().cmd_ptr, queue.ring_memory.va + 2 * 8);
    EXPECT_EQ(queue.fatal().instruction, 0x1546420000010000u);  // STORE_MULTIPLE {r70}, [d66]
    // The others.
    EXPECT_EQ(neighbour.fatal().type, Exception::cs_bus_fault);
    EXPECT_EQ(neighbour.fatal().info, 0u);
    EXPECT_EQ(neighbour.fatal().cmd_ptr, 0u);
    EXPECT_EQ(neighbour.fatal().instruction, 0u);
    EXPECT_EQ(same_space.queue(0).fatal().type, Exception::cs_bus_fault);
    EXPECT_EQ(group.notices(), 0b11u);
    EXPECT_EQ(rig.take_job_interrupts(), 0b011u);
    // And who has nothing to do with it.
    EXPECT_EQ(other_space.queue(0).fatal().type, Exception::ok);
    const Memory elsewhere = second.memory();
    store_to(other_space.queue(0), elsewhere.va);
    EXPECT_EQ(elsewhere.u32(), 7u);
    rig.run_until_idle();
}

TEST_F(PageFaults, EachCulpritReportsItsOwnAddress) {
    store_to(queue, kNowhere);
    store_to(neighbour, kNowhere + 0x4000);
    rig.disable(rig.vm);
    EXPECT_EQ(queue.fatal().info, kNowhere);
    EXPECT_EQ(neighbour.fatal().info, kNowhere + 0x4000);
}

TEST_F(PageFaults, EndTheirStreamBeforeItsSuspensionIsAcknowledged) {
    // Disabling the address space, as the driver answers to the fault, does not reach a group off its slot.
    store_to(queue, kNowhere);
    ASSERT_EQ(queue.status(), StreamStatus::faulted);
    Record at_acknowledgement;
    rig.take_job_interrupts();
    rig.host.on_interrupt = [&] { at_acknowledgement = queue.fatal(); };
    group.suspend();
    EXPECT_EQ(at_acknowledgement.type, Exception::cs_bus_fault);
    EXPECT_EQ(at_acknowledgement.info, kNowhere);
    EXPECT_EQ(at_acknowledgement.instruction, 0x1546420000010000u);
    EXPECT_EQ(neighbour.fatal().type, Exception::ok);
    group.resume_on(1);
    EXPECT_EQ(queue.status(), StreamStatus::fatal);
    neighbour.run([](W& w) { w.move32(r(0), 1); });
    EXPECT_EQ(neighbour.reg(0), 1u);
}

TEST_F(PageFaults, DropWhatTheirStreamHasInFlight) {
    queue.run([&](W& w) {
        w.move48(d(66), memory.va).move32(r(0), 1).store_multiple(r(0), 1, d(66));
        w.move48(d(68), kNowhere).move32(r(70), 8).call(d(68), r(70));
    });
    ASSERT_EQ(queue.status(), StreamStatus::faulted);
    memory.u32() = 0;  // whatever had been written until now
    group.suspend();
    EXPECT_EQ(memory.u32(), 0u);
    EXPECT_EQ(queue.out().status_scoreboards, 0u);
}

TEST_F(PageFaults, OfAFetchNameThePlaceWithoutAWord) {
    queue.run([](W& w) { w.move48(d(66), kNowhere).move32(r(68), 16).call(d(66), r(68)); });
    rig.disable(rig.vm);
    EXPECT_EQ(queue.fatal().cmd_ptr, kNowhere);
    EXPECT_EQ(queue.fatal().instruction, 0u);
}

TEST_F(PageFaults, OfARunawayDoNotStarveTheDriver) {
    queue.submit([](W& w) { w.branch(Condition::always, r(0), -1); });
    queue.ring();
    rig.step();
    rig.disable(rig.vm);  // steps a bounded number of times
    EXPECT_EQ(queue.fatal().type, Exception::cs_bus_fault);
    rig.run_until_idle(8);
}

// --- flushes ---

TEST(AddressSpaceCommands, AreAnnouncedWhenTheyAreCarriedOut) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    rig.take_mmu_interrupts();
    rig.host.interrupts = 0;
    rig.gpu.write(as_reg(1, AsReg::command), kAsCommandFlushMem);
    EXPECT_EQ(rig.gpu.read(as_reg(1, AsReg::status)), kAsStatusActive);
    EXPECT_EQ(rig.take_mmu_interrupts(), 0u);
    rig.step();
    EXPECT_EQ(rig.gpu.read(as_reg(1, AsReg::status)), 0u);
    EXPECT_EQ(rig.host.interrupts, 1u);
    EXPECT_EQ(rig.take_mmu_interrupts(), mmu_int_command_done(1));
}

TEST(AddressSpaceCommands, RegistersReadBackWhatWasWritten) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    rig.gpu.write64(as_reg(5, AsReg::transtab_lo), 0x1234'5678'9000);
    rig.gpu.write64(as_reg(5, AsReg::transcfg_lo), kTranscfgAarch64_4k);
    EXPECT_EQ(rig.gpu.read64(as_reg(5, AsReg::transtab_lo)), 0x1234'5678'9000u);
    EXPECT_EQ(rig.gpu.read(as_reg(5, AsReg::transcfg_lo)), kTranscfgAarch64_4k);
    EXPECT_EQ(rig.gpu.read(as_reg(4, AsReg::transtab_lo)), 0u);
}

TEST(AddressSpaceCommands, TablesTakeEffectAtUpdateNotBefore) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Vm other{1};
    const Memory memory = rig.memory();
    const Memory replacement = other.pages_of(1, memory.va);
    other.map(memory.va, replacement.host, 1);
    Queue& queue = rig.group().queue(0);
    other.map(queue.ring_memory.va, queue.ring_memory.host, 1);
    const auto store = [&] {
        queue.run([&](W& w) {
            w.move48(d(66), memory.va).add_immediate32(r(0), r(0), 1).store_multiple(r(0), 1, d(66));
        });
    };
    rig.gpu.write64(as_reg(1, AsReg::transtab_lo), other.root());
    store();
    EXPECT_EQ(memory.u32(), 1u);
    rig.command(rig.vm, kAsCommandUpdate);
    store();
    EXPECT_EQ(memory.u32(), 1u);
    EXPECT_EQ(replacement.u32(), 2u);
}

TEST(Unmap, MemoryIsNeverTouchedOnceTheFlushIsDone) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    const Memory page = rig.memory();
    queue.submit([&](W& w) {  // counts in memory, for ever
        w.move48(d(66), page.va).add_immediate32(r(0), r(0), 1).store_multiple(r(0), 1, d(66));
        w.branch(Condition::always, r(0), -3);
    });
    queue.ring();
    rig.step();
    rig.step();
    EXPECT_GT(page.u32(), 100u);

    rig.vm.unmap(page.va);
    rig.flush(rig.vm);
    const std::uint32_t last = page.u32();
    rig.run_until_idle(4);

    EXPECT_EQ(page.u32(), last);
    EXPECT_EQ(queue.status(), StreamStatus::faulted);
    EXPECT_EQ(rig.take_mmu_interrupts(), mmu_int_fault(1));
    EXPECT_EQ(rig.gpu.read64(as_reg(1, AsReg::faultaddress_lo)), page.va);
}

TEST(Unmap, InstructionsAreNotFetchedOnceTheFlushIsDone) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    const Memory callee =
        rig.buffer([](W& w) { w.add_immediate32(r(0), r(0), 1).branch(Condition::always, r(0), -2); });
    queue.submit([&](W& w) { w.move48(d(66), callee.va).move32(r(68), 16).call(d(66), r(68)); });
    queue.ring();
    rig.step();
    rig.step();
    EXPECT_GT(queue.reg(0), 100u);
    rig.vm.unmap(callee.va);
    rig.flush(rig.vm);
    const std::uint32_t last = queue.reg(0);
    rig.run_until_idle(4);
    EXPECT_EQ(queue.reg(0), last);
    EXPECT_EQ(queue.status(), StreamStatus::faulted);
}

TEST(Unmap, InstructionsComeFromTheNewPageAfterTheFlush) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    const Memory callee = rig.buffer([](W& w) { w.branch(Condition::always, r(0), -1); });
    const Memory replacement = rig.vm.pages_of(1, callee.va);
    replacement.u64() = 0x0200000000000001;  // MOVE32 r0, #1
    queue.submit([&](W& w) { w.move48(d(66), callee.va).move32(r(68), 8).call(d(66), r(68)); });
    queue.ring();
    rig.step();
    rig.vm.map(callee.va, replacement.host, 1);
    rig.flush(rig.vm);
    rig.run_until_idle(4);
    EXPECT_EQ(queue.reg(0), 1u);
}

TEST(Unmap, AWaitForAnObjectIsTriedAgainAtItsNewPage) {
    Rig rig{{.group_slots = 1, .streams_per_group = 2}};
    Group& group = rig.group({.queues = 2});
    const Memory page = rig.memory();
    group.queue(0).run(
        [&](W& w) { w.move48(d(66), page.va).sync_wait64(d(66), Condition::gt, d(68)).move32(r(0), 1); });
    const Memory replacement = rig.vm.pages_of(1, page.va);
    rig.vm.map(page.va, replacement.host, 1);
    rig.flush(rig.vm);
    rig.run_until_idle();
    ASSERT_EQ(group.queue(0).blocked_by(), BlockedReason::sync);
    group.queue(1).run([&](W& w) { w.move48(d(66), page.va).move48(d(68), 1).sync_add64(d(66), d(68)); });
    EXPECT_EQ(replacement.sync64().value, 1u);
    EXPECT_EQ(group.queue(0).reg(0), 1u);
}

TEST(Unmap, AWaitForAnObjectThatIsGoneFaults) {
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    const Memory page = rig.memory();
    queue.run([&](W& w) { w.move48(d(66), page.va).sync_wait64(d(66), Condition::gt, d(68)); });
    rig.vm.unmap(page.va);
    rig.flush(rig.vm);
    rig.run_until_idle();
    EXPECT_EQ(queue.status(), StreamStatus::faulted);
}

TEST(Blocks, StreamsUseA2MiBBlock) {
    struct alignas(kBlock) Block {
        std::byte bytes[kBlock];
    };
    Rig rig{{.group_slots = 1, .streams_per_group = 1}};
    Queue& queue = rig.group().queue(0);
    const auto block = std::make_unique<Block>();
    rig.vm.map_block(0x4000'0000, block->bytes);
    const Memory memory{.va = 0x4000'0000, .host = block->bytes, .bytes = kBlock};
    queue.run([&](W& w) {
        w.move48(d(66), memory.va + 0x10'0ff8).move32(r(0), 1).move32(r(1), 2).move32(r(2), 3);
        w.store_multiple(r(0), 0b111, d(66)).wait(slots(0));
        w.move48(d(68), memory.va + kBlock - 16).move48(d(70), 1).sync_add64(d(68), d(70));
    });
    EXPECT_EQ(memory.u32(0x10'0ff8), 1u);
    EXPECT_EQ(memory.u32(0x10'0ffc), 2u);
    EXPECT_EQ(memory.u32(0x10'1000), 3u);
    EXPECT_EQ(memory.sync64(kBlock - 16).value, 1u);
}

}  // namespace
}  // namespace belfry::gpu
