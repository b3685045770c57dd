/**
 * The table of operations: every one that clients from protocol 1.15 to 1.38 may send.
 *
 * Not in it are those that were removed before (4, 5, 16, 24, 25, 27) and those that only builders
 * send (1000, 1001). The length of such a request is unknown, so its connection is at an end.
 */
import * as AddToStore from "./AddToStore.ts"
import * as Build from "./Build.ts"
import * as Maintenance from "./Maintenance.ts"
import type { Operation } from "./Operation.ts"
import * as Query from "./Query.ts"

export const operations = {
  IsValidPath: Query.IsValidPath,
  HasSubstitutes: Query.HasSubstitutes,
  QueryReferrers: Query.QueryReferrers,
  AddToStore: AddToStore.AddToStore,
  AddTextToStore: AddToStore.AddTextToStore,
  BuildPaths: Build.BuildPaths,
  EnsurePath: Build.EnsurePath,
  AddTempRoot: Maintenance.AddTempRoot,
  AddIndirectRoot: Maintenance.AddIndirectRoot,
  SyncWithGC: Maintenance.SyncWithGC,
  FindRoots: Maintenance.FindRoots,
  QueryDeriver: Query.QueryDeriver,
  SetOptions: Maintenance.SetOptions,
  CollectGarbage: Maintenance.CollectGarbage,
  QuerySubstitutablePathInfo: Query.QuerySubstitutablePathInfo,
  QueryDerivationOutputs: Query.QueryDerivationOutputs,
  QueryAllValidPaths: Query.QueryAllValidPaths,
  QueryPathInfo: Query.QueryPathInfo,
  QueryDerivationOutputNames: Query.QueryDerivationOutputNames,
  QueryPathFromHashPart: Query.QueryPathFromHashPart,
  QuerySubstitutablePathInfos: Query.QuerySubstitutablePathInfos,
  QueryValidPaths: Query.QueryValidPaths,
  QuerySubstitutablePaths: Query.QuerySubstitutablePaths,
  QueryValidDerivers: Query.QueryValidDerivers,
  OptimiseStore: Maintenance.OptimiseStore,
  VerifyStore: Maintenance.VerifyStore,
  BuildDerivation: Build.BuildDerivation,
  AddSignatures: AddToStore.AddSignatures,
  NarFromPath: Query.NarFromPath,
  AddToStoreNar: AddToStore.AddToStoreNar,
  QueryMissing: Query.QueryMissing,
  QueryDerivationOutputMap: Query.QueryDerivationOutputMap,
  RegisterDrvOutput: AddToStore.RegisterDrvOutput,
  QueryRealisation: Query.QueryRealisation,
  AddMultipleToStore: AddToStore.AddMultipleToStore,
  AddBuildLog: AddToStore.AddBuildLog,
  BuildPathsWithResults: Build.BuildPathsWithResults,
  AddPermRoot: Maintenance.AddPermRoot
} as const

export type Name = keyof typeof operations
export type Request<N extends Name> = Operation.Request<(typeof operations)[N]>
export type Response<N extends Name> = Operation.Response<(typeof operations)[N]>

// `Object.entries` forgets that the keys are those of the table.
const byCode = new Map(Object.entries(operations).map(([name, { code }]) => [code, name as Name]))

/** The name of the operation with this number, if there is one. */
export const find = (code: number): Name | undefined => byCode.get(code)
