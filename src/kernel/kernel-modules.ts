import { readElfSection } from './elf.js'

/** Metadata in the `.modinfo` section of a kernel module. */
export interface ModuleInfo {
  /** Name with underscores, as used by the kernel. */
  readonly name: string
  /** Path relative to `/lib/modules/VERSION`. */
  readonly path: string
  readonly depends: readonly string[]
  readonly aliases: readonly string[]
  readonly softdeps: readonly string[]
}

/** Parses the file of a module. A module without `.modinfo` has no dependencies. */
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

/** Returns the module name of a file: both `kernel/net/vmw-x.ko.xz` and `vmw-x` are `vmw_x`. */
export function normalizeModuleName(file: string): string {
  return file
    .slice(file.lastIndexOf('/') + 1)
    .replace(/\.ko(\.(xz|zst|gz))?$/, '')
    .replaceAll('-', '_')
}

/**
 * Returns the paths of the modules to load for `names`, each after its dependencies. Unknown names
 * are skipped: such drivers are built into the kernel.
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

/**
 * Formats `modules.dep`: the path of each module, a colon, and its dependencies, the nearest first.
 */
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

/** Formats `modules.alias`, which the kernel uses to request drivers. */
export function formatModulesAlias(modules: readonly ModuleInfo[]): string {
  return modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join('')
}

/** Formats `modules.softdep`. */
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
