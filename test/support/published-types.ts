import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')
export const ENTRY_POINTS = ['dist/fixtures/index.d.ts', 'dist/fixtures/vitest.d.ts']

export interface Declaration {
  readonly kind: string
  readonly text: string
}

/** Published file: its declarations, and the names that it takes from other files. */
export interface TypesFile {
  readonly declarations: ReadonlyMap<string, Declaration>
  readonly imports: ReadonlyMap<string, { readonly file: string; readonly name: string }>
  /** Names that an entry point exports; `isType` for those that exist only as types. */
  readonly exports: ReadonlyMap<string, { readonly isType: boolean }>
}

const STATEMENT = /^(?=(?:export|import|declare|interface|type|class|abstract|const|function)\b)/m
const DECLARATION = /^(?:export )?(?:declare )?(?:abstract )?(class|interface|type|const|function) (\w+)/
const NAMES = /^(import|export)( type)? \{([^}]*)\} from '(\.[^']+)\.js'/

function parseTypes(file: string): TypesFile {
  const declarations = new Map<string, Declaration>()
  const imports = new Map<string, { file: string; name: string }>()
  const exports = new Map<string, { isType: boolean }>()
  const source = readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
  for (const text of source.split(STATEMENT)) {
    const [, verb, isType, names = '', from = ''] = NAMES.exec(text) ?? []
    for (const part of names.split(',').filter((part) => part.trim() !== '')) {
      const [, onlyType, name = '', alias = name] = /^\s*(type )?(\w+)(?: as (\w+))?/.exec(part) ?? []
      imports.set(alias, { file: join(dirname(file), `${from}.d.ts`), name })
      if (verb === 'export') exports.set(alias, { isType: (isType ?? onlyType) !== undefined })
    }
    const [, kind, name] = DECLARATION.exec(text) ?? []
    if (kind === undefined || name === undefined) continue
    declarations.set(name, { kind, text: `${declarations.get(name)?.text ?? ''}${text}` })
    if (text.startsWith('export')) exports.set(name, { isType: kind === 'interface' || kind === 'type' })
  }
  return { declarations, imports, exports }
}

/** Returns the declarations that an editor shows for what the entry points export, by name. */
export function findReachable(files: ReadonlyMap<string, TypesFile>): Map<string, Declaration> {
  const reached = new Map<string, Declaration>()
  const seen = new Set<string>()
  const visit = (file: string, name: string): void => {
    if (seen.has(`${file} ${name}`)) return
    seen.add(`${file} ${name}`)
    const types = files.get(file)
    const imported = types?.imports.get(name)
    if (imported !== undefined) visit(imported.file, imported.name)
    const declaration = types?.declarations.get(name)
    if (declaration === undefined) return
    reached.set(name, declaration)
    for (const [word] of declaration.text.matchAll(/[A-Za-z_]\w*/g)) visit(file, word)
  }
  for (const file of ENTRY_POINTS) for (const name of files.get(file)?.exports.keys() ?? []) visit(file, name)
  return reached
}

/** Parses all declarations of `dist`, by path. */
export function readPublishedTypes(): ReadonlyMap<string, TypesFile> {
  const names = readdirSync(join(ROOT, 'dist'), { recursive: true, encoding: 'utf8' })
  const paths = names.filter((name) => name.endsWith('.d.ts')).map((name) => join('dist', name))
  return new Map(paths.map((path) => [path, parseTypes(path)]))
}
