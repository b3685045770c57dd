/** PostgreSQL's libraries under all their names: its package makes the links by a script, and scripts are not run. */
import { existsSync, lstatSync, symlinkSync } from "node:fs"
import path from "node:path"
import { postgresPackage, readJson } from "./place.mjs"
import { refuse } from "./say.mjs"

const links = () => {
  const listed = readJson(path.join(postgresPackage, "native/pg-symlinks.json"))
  if (listed === null) return refuse(`expected PostgreSQL in ${postgresPackage}, found none`)
  return listed.map(({ source, target }) => ({
    source: path.join(postgresPackage, source),
    target: path.join(postgresPackage, target)
  }))
}

const exists = (file) => lstatSync(file, { throwIfNoEntry: false }) !== undefined

export const postgres = {
  name: "PostgreSQL's libraries",
  isDone: () => existsSync(postgresPackage) && links().every(({ target }) => exists(target)),
  run: () => {
    for (const { source, target } of links()) {
      if (!exists(target)) symlinkSync(path.relative(path.dirname(target), source), target)
    }
  }
}
