/*
 * A user queue whose group can lose its slot at any time: doorbell, ACTIVE, kick and eviction, as a model for spin.
 *
 * Checked by `./dev check model`, which also removes the fixes below one after the other and wants an error each time.
 * The protocol is that of facts/firmware-and-scheduling.md 7.1; letters such as B1 are the races of its section 7.
 *
 * Who        client(g)  publishes JOBS jobs (the second client one), then ends; GROUPS of them, one queue each
 *            firmware   the GPU's thread: starts, runs and stops groups, takes doorbells, sleeps
 *            kicks,     two threads of a driver that has more than Belfry's one, so a kick may come between any two
 *            scheduler  steps of the scheduler; what holds here holds for one thread all the more
 *            memory     takes the stores of clients and firmware out of their store buffers, at any time
 *
 * Memory     is that of x86: stores wait in a first-in-first-out buffer of their thread and a fence waits until it is
 *            empty; loads are in order. No thread loads what it stores itself. System calls, exchanges and whatever the
 *            driver does are fences. So a fence between two loads, or one that only orders stores, is not tested here.
 *
 * Left out   ring contents, sync waits, priorities, more than one queue a group, naps (every client gives an eventfd),
 *            groups that end. How the driver finds that a group has no work is a look at INSERT and EXTRACT. START and
 *            SUSPEND always wake the firmware. The driver takes a slot from a group that has work, or that nobody
 *            wants the slot of, at most EVICTIONS times; the firmware forgets to answer at most DEATHS times.
 *
 * Proven     - every published job is run: all runs end (no cycle), and none ends before `observer` has seen all jobs;
 *            - a group is on at most one slot;
 *            - ACTIVE = 1 only while the group is on a slot or being taken off.
 *
 * Fixes that can be removed (-D):
 *   NO_CLIENT_FENCE    client: fence between its store to INSERT and its load of ACTIVE (7.0)
 *   NO_DOORBELL_FENCE  client: fence between its store to the doorbell and its load of need_wakeup (A4)
 *   LOOK_BEFORE_LATCH  firmware: clears the doorbell, then reads INSERT (A3)
 *   NO_SLEEP_RECHECK   firmware: announces its sleep, then looks at the doorbells again (A4)
 *   ACK_BEFORE_CLEAR   firmware: clears ACTIVE, then acknowledges SUSPEND (B3)
 *   NO_REREAD          driver: decides by the INSERT that it reads after the acknowledgement (B1, B2)
 *   NO_KICKED          driver: remembers a kick that comes while it suspends (C2); one thread that reads INSERT and
 *                      decides in one step would not need it
 *   NO_FORCED_CLEAR    driver: clears ACTIVE when it takes the slot away by force (G4)
 *   KICK_RELINKS       driver: a kick makes runnable only what is off slot (C1)
 *   NO_ACTIVE_FIRST    firmware: sets ACTIVE, fences, reads INSERT at start (A13)  } either one is enough:
 *   NO_KICK_RING       driver: a kick of a group on a slot rings its doorbell (C3) } an error only without both
 */

#ifndef GROUPS
#define GROUPS 1
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef JOBS
#define JOBS 2
#endif
#ifndef EVICTIONS
#define EVICTIONS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

#define NOBODY GROUPS
#define jobs_of(g) ((g) == 0 -> JOBS : 1)

/* Shared by client and firmware, and read by the driver. */
byte insert[GROUPS];
byte extract[GROUPS];
bit cs_active[GROUPS];
bit doorbell[GROUPS];
bit need_wakeup[GROUPS];
bit eventfd; /* wakes the firmware; the driver's doorbell does the same */

/* Between driver and firmware, one of each a slot. */
mtype:request = { NOTHING, START, SUSPEND };
mtype:answer = { NONE, DONE, DEAD };
mtype:request request[SLOTS] = NOTHING;
mtype:answer answer[SLOTS] = NONE;
byte wanted[SLOTS]; /* the group that START is for */

/* The driver's own. */
mtype:state = { IDLE, RUNNABLE, STARTING, RESIDENT, SUSPENDING };
mtype:state state[GROUPS] = IDLE;
bit kicked[GROUPS];
byte slot_of[GROUPS] = SLOTS;
bit slot_taken[SLOTS];
byte evictions;
chan kick = [0] of { byte };

/* The firmware's own. */
byte bound[SLOTS] = NOBODY;
byte known[GROUPS]; /* INSERT as last read */
byte done[GROUPS];  /* jobs run */
byte deaths = DEATHS;

/* Store buffers. */
mtype:place = { INSERT, EXTRACT, ACTIVE, DOORBELL, NEED_WAKEUP, ANSWER_DONE, ANSWER_DEAD };
chan client_stores[GROUPS] = [2] of { mtype:place, byte, byte };
chan firmware_stores = [3] of { mtype:place, byte, byte };

#define client_fence(g) empty(client_stores[g])
#define firmware_fence() empty(firmware_stores)
#define has_work(g) (insert[g] != extract[g])

/* --- client --------------------------------------------------------------------------------------------- */

proctype client(byte g)
{
    byte job = 0;

    do
    :: job < jobs_of(g) ->
        job++;
        client_stores[g]!INSERT(g, job);
#ifndef NO_CLIENT_FENCE
        client_fence(g);
#endif
        if
        :: cs_active[g] ->
            client_stores[g]!DOORBELL(g, 1);
#ifndef NO_DOORBELL_FENCE
            client_fence(g);
#endif
            if
            :: need_wakeup[g] -> client_fence(g); eventfd = 1
            :: else
            fi
        :: else -> client_fence(g); kick!g
        fi
    :: else -> break
    od
}

/* --- firmware ------------------------------------------------------------------------------------------- */

proctype firmware()
{
    byte s = 0;
    byte g = NOBODY;
    bit rung = 0;
    bit busy = 0; /* something was done in this turn over the slots */

turn:
    busy = 0;
    s = 0;
    do
    :: s < SLOTS ->
        if
        :: request[s] == START ->
            atomic {
                request[s] = NOTHING;
                g = wanted[s];
                byte other;
                for (other : 0 .. SLOTS - 1) { assert(bound[other] != g) }
                other = 0;
                bound[s] = g;
                busy = 1
            }
#ifdef NO_ACTIVE_FIRST
            known[g] = insert[g];
            firmware_stores!ACTIVE(g, 1);
#else
            firmware_stores!ACTIVE(g, 1);
            firmware_fence();
            known[g] = insert[g];
#endif
            firmware_stores!ANSWER_DONE(s, 0)
        :: request[s] == SUSPEND ->
            atomic { request[s] = NOTHING; g = bound[s]; bound[s] = NOBODY; busy = 1 }
            if
            :: deaths > 0 -> deaths--; firmware_stores!ANSWER_DEAD(s, 0) /* ACTIVE is left at 1 */
            :: true ->
#ifdef ACK_BEFORE_CLEAR
                firmware_stores!ANSWER_DONE(s, 0);
                firmware_stores!ACTIVE(g, 0)
#else
                firmware_stores!ACTIVE(g, 0);
                firmware_stores!ANSWER_DONE(s, 0)
#endif
            fi
        :: else
        fi;
        g = bound[s];
        if
        :: g != NOBODY ->
#ifdef LOOK_BEFORE_LATCH
            if
            :: doorbell[g] -> known[g] = insert[g]; busy = 1
            :: else
            fi;
            atomic { firmware_fence() -> doorbell[g] = 0 }
#else
            atomic { firmware_fence() -> rung = doorbell[g]; doorbell[g] = 0 }
            if
            :: rung -> known[g] = insert[g]; rung = 0; busy = 1
            :: else
            fi;
#endif
            if
            :: done[g] < known[g] ->
                done[g]++;
                firmware_stores!EXTRACT(g, done[g]);
                busy = 1
            :: else
            fi
        :: else
        fi;
        g = NOBODY;
        s++
    :: else -> break
    od;
    s = 0;
    if
    :: busy -> goto turn
    :: else
    fi;

    /* Nothing to do: announce the sleep, look once more, sleep. */
    do
    :: s < SLOTS ->
        if
        :: bound[s] != NOBODY -> firmware_stores!NEED_WAKEUP(bound[s], 1)
        :: else
        fi;
        s++
    :: else -> break
    od;
    s = 0;
#ifndef NO_SLEEP_RECHECK
    firmware_fence();
    do
    :: s < SLOTS ->
        if
        :: bound[s] != NOBODY && doorbell[bound[s]] -> busy = 1
        :: else
        fi;
        s++
    :: else -> break
    od;
    s = 0;
#endif
    if
    :: busy
    :: else ->
end_asleep:
        atomic { eventfd -> eventfd = 0 }
    fi;
    do
    :: s < SLOTS ->
        if
        :: bound[s] != NOBODY -> firmware_stores!NEED_WAKEUP(bound[s], 0)
        :: else
        fi;
        s++
    :: else -> break
    od;
    s = 0;
    goto turn
}

/* --- driver --------------------------------------------------------------------------------------------- */

/* GROUP_KICK. */
proctype kicks()
{
    byte g = 0;

end_no_kick:
    do
    :: kick?g ->
        atomic {
            if
            :: state[g] == IDLE && has_work(g) -> state[g] = RUNNABLE
            :: state[g] == SUSPENDING ->
#if defined(KICK_RELINKS)
                state[g] = RUNNABLE
#elif !defined(NO_KICKED)
                kicked[g] = 1
#else
                skip
#endif
#ifndef NO_KICK_RING
            :: state[g] == STARTING -> kicked[g] = 1
            :: state[g] == RESIDENT -> doorbell[g] = 1; eventfd = 1
#endif
            :: else
            fi;
            g = 0
        }
    od
}

#define others_wait(g) (GROUPS > 1 && state[(g + 1) % GROUPS] == RUNNABLE)

#ifdef NO_REREAD
#define LOOK_AT_ASK work = has_work(g)
#define LOOK_AFTER_ACK skip
#else
#define LOOK_AT_ASK skip
#define LOOK_AFTER_ACK work = has_work(g)
#endif

/* Moves group g between the states. */
proctype scheduler(byte g)
{
    byte s = 0;
    bit work = 0;

end_nothing_to_do:
    do
    :: atomic {
            state[g] == RUNNABLE && (!slot_taken[0] || !slot_taken[SLOTS - 1]) ->
            if
            :: !slot_taken[0] -> s = 0
            :: !slot_taken[SLOTS - 1] -> s = SLOTS - 1
            fi;
            assert(slot_of[g] == SLOTS);
            state[g] = STARTING;
            slot_of[g] = s;
            slot_taken[s] = 1;
            wanted[s] = g;
            request[s] = START;
            eventfd = 1
        }
    :: atomic {
            state[g] == STARTING && answer[s] != NONE ->
            answer[s] = NONE;
            state[g] = RESIDENT;
            if
            :: kicked[g] -> kicked[g] = 0; doorbell[g] = 1; eventfd = 1
            :: else
            fi
        }
    :: atomic {
            state[g] == RESIDENT && (evictions > 0 || others_wait(g) && !has_work(g)) ->
            if
            :: others_wait(g) && !has_work(g)
            :: else -> evictions--
            fi;
            LOOK_AT_ASK;
            state[g] = SUSPENDING;
            request[s] = SUSPEND;
            eventfd = 1
        }
    :: state[g] == SUSPENDING && answer[s] != NONE ->
        if
        :: answer[s] == DEAD ->
#ifndef NO_FORCED_CLEAR
            cs_active[g] = 0
#else
            skip
#endif
        :: else
        fi;
        LOOK_AFTER_ACK;
        atomic {
            assert(cs_active[g] == 0);
            answer[s] = NONE;
            slot_taken[s] = 0;
            slot_of[g] = SLOTS;
            s = 0;
            if
            :: kicked[g] || work -> state[g] = RUNNABLE
            :: else -> state[g] = IDLE
            fi;
            kicked[g] = 0;
            work = 0
        }
    od
}

/* --- memory and the question ---------------------------------------------------------------------------- */

inline store()
{
    if
    :: place == INSERT -> insert[at] = value
    :: place == EXTRACT -> extract[at] = value
    :: place == ACTIVE ->
        assert(value == 0 || state[at] == STARTING);
        cs_active[at] = value
    :: place == DOORBELL -> doorbell[at] = value
    :: place == NEED_WAKEUP -> need_wakeup[at] = value
    :: place == ANSWER_DONE -> answer[at] = DONE
    :: place == ANSWER_DEAD -> answer[at] = DEAD
    fi;
    at = 0;
    value = 0;
    place = INSERT
}

proctype memory()
{
    mtype:place place = INSERT;
    byte at = 0;
    byte value = 0;

end_all_stored:
    do
    :: atomic { client_stores[0]?place, at, value -> store() }
#if GROUPS > 1
    :: atomic { client_stores[1]?place, at, value -> store() }
#endif
    :: atomic { firmware_stores?place, at, value -> store() }
    od
}

/* Has no end label: a run that stops before all jobs are run is an error. */
proctype observer()
{
    byte g;

    for (g : 0 .. GROUPS - 1) { done[g] == jobs_of(g) }
}

init
{
    byte g;

    atomic {
        select (evictions : 0 .. EVICTIONS);
        run memory();
        run firmware();
        run kicks();
        for (g : 0 .. GROUPS - 1) {
            run client(g);
            run scheduler(g)
        }
        run observer()
    }
}
