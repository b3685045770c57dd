/** Hosts and needs, said briefly. */
import { AccountId } from "../../src/domain/Account.ts"
import { Host, HostId } from "../../src/domain/Host.ts"
import { LeaseId } from "../../src/domain/Lease.ts"
import { Need } from "../../src/domain/Need.ts"

export const GiB = 2 ** 30

export const host = (id: string, cores: number, gib: number, more: Partial<Host> = {}): Host =>
  new Host({
    id: HostId.make(id),
    systems: ["x86_64-linux"],
    features: ["big-parallel"],
    cores,
    memoryBytes: gib * GiB,
    overheadBytes: GiB / 2,
    ...more
  })

export const need = (lease: string, cores: number | "all" = 1, gib = 1, more: Partial<Need> = {}): Need =>
  new Need({
    lease: LeaseId.make(lease),
    account: AccountId.make("a"),
    system: "x86_64-linux",
    features: [],
    cores,
    memoryBytes: gib * GiB,
    ...more
  })
