import { readElfSection } from './elf.js'

/** What a kernel module says of itself in its section `.modinfo`. */
export interface ModuleInfo {
  /** With underscores, as the kernel writes it. */
  readonly name: string
  /** Relative to `/lib/modules/VERSION`. */
  readonly path: string
  readonly depends: readonly string[]
  readonly aliases: readonly string[]
  readonly softdeps: readonly string[]
}

/** Reads a module's file. A module without `.modinfo` depends on nothing. */
export function parseModuleInfo(path: string, bytes: Buffer): ModuleInfo {
  const fields = readFields(readElfSection(bytes, '.modinfo') ?? Buffer.alloc(0))
  return {
    name: normalizeModuleName(path.slice(path.lastIndexOf('/') + 1)),
    path,
    depends: (fields.get('depends')?.[0] ?? '').split(',').filter(Boolean).map(normalizeModuleName),
    aliases: fields.get('alias') ?? [],
    softdeps: fields.get('softdep') ?? [],
  }
}

/** `kernel/net/vmw-x.ko.xz` and `vmw-x` are both the module `vmw_x`. */
export function normalizeModuleName(file: string): string {
  return file
    .slice(file.lastIndexOf('/') + 1)
    .replace(/\.ko(\.(xz|zst|gz))?$/, '')
    .replaceAll('-', '_')
}

/**
 * The paths of the modules to load for `names`, each behind those that it needs. A name that is no module is
 * left out: such a driver is built into the kernel.
 */
export function orderModules(modules: readonly ModuleInfo[], names: readonly string[]): string[] {
  const byName = new Map(modules.map((module) => [module.name, module]))
  const ordered = new Set<string>()
  const visit = (name: string, path: readonly string[]): void => {
    const module = byName.get(normalizeModuleName(name))
    if (module === undefined || ordered.has(module.path) || path.includes(module.name)) return
    for (const needed of module.depends) visit(needed, [...path, module.name])
    ordered.add(module.path)
  }
  for (const name of names) visit(name, [])
  return [...ordered]
}

/** Writes `modules.dep`: each module's path, a colon, and all that it needs, the nearest first. */
export function formatModulesDep(modules: readonly ModuleInfo[]): string {
  return modules
    .map((module) => {
      const needed = orderModules(modules, [module.name]).filter((path) => path !== module.path)
      return `${module.path}:${needed
        .reverse()
        .map((path) => ` ${path}`)
        .join('')}\n`
    })
    .join('')
}

/** Writes `modules.alias`, by which the kernel asks for a driver that it needs. */
export function formatModulesAlias(modules: readonly ModuleInfo[]): string {
  return modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join('')
}

/** Writes `modules.softdep`. */
export function formatModulesSoftdep(modules: readonly ModuleInfo[]): string {
  return modules
    .flatMap(({ name, softdeps }) => softdeps.map((softdep) => `softdep ${name} ${softdep}\n`))
    .join('')
}

function readFields(section: Buffer): Map<string, string[]> {
  const fields = new Map<string, string[]>()
  for (const entry of section.toString('latin1').split('\0')) {
    const equals = entry.indexOf('=')
    if (equals < 1) continue
    const key = entry.slice(0, equals)
    fields.set(key, [...(fields.get(key) ?? []), entry.slice(equals + 1)])
  }
  return fields
}
