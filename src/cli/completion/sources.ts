import type { Argument, Command, Option } from 'commander'

/** Possible word, and its description. */
export interface Candidate {
  readonly value: string
  readonly text: string
}

/** Files of the host, which the shell itself completes. */
export const FILES = 'files'

type Source = typeof FILES | keyof typeof READERS

/** Sources of arguments and of values of options: by command and name, or by name. */
const SOURCES: Readonly<Record<string, readonly Source[]>> = {
  'run image': ['recipes', FILES],
  'boot image': ['recipes', FILES],
  'images build name': ['recipes'],
  'images inspect image': ['recipes', FILES],
  'images path image': ['recipes', FILES],
  'images history name': ['images', 'recipes'],
  'images rm name': ['images'],
  'templates rm name': ['templates'],
  'import domain.xml': [FILES],
  'init folder': [FILES],
  'init tests': [FILES],
  'ssh name': ['guests'],
  'cp paths': ['guest paths', FILES],
  'logs name': ['all guests'],
  'console name': ['all guests'],
  'stop name': ['kept guests'],
  identity: [FILES],
  'secret-file': [FILES],
  kernel: [FILES],
  initrd: [FILES],
}

/** Returns where the values of an argument or an option come from. Empty if they are free text. */
export function sourceOf(command: Command, of: Argument | Option): readonly Source[] {
  return SOURCES[`${pathOf(command)} ${of.name()}`] ?? SOURCES[of.name()] ?? []
}

/** Returns the values of a source. Never throws: a shell shows no errors. */
export async function readSource(source: Exclude<Source, typeof FILES>): Promise<Candidate[]> {
  return READERS[source]().catch(() => [])
}

const READERS = {
  recipes: async () => {
    const { RECIPES } = await import('../../../images/recipes.js')
    return Object.keys(RECIPES).map((value) => ({ value, text: 'recipe' }))
  },
  images: async () => {
    const { readdir } = await import('node:fs/promises')
    const { imagesDir } = await import('../../cache/image-store.js')
    const { resolveCacheDir } = await import('../../common/cache-dir.js')
    return toEntries(await readdir(imagesDir({ cacheDir: resolveCacheDir() })))
  },
  templates: async () => {
    const { readdir } = await import('node:fs/promises')
    const { join } = await import('node:path')
    const { resolveCacheDir } = await import('../../common/cache-dir.js')
    return toEntries(await readdir(join(resolveCacheDir(), 'templates')))
  },
  guests: async () => (await listGuests()).filter(({ use }) => use !== 'standby'),
  'all guests': async () => listGuests(),
  'kept guests': async () => (await listGuests()).filter(({ use }) => use === 'kept'),
  'guest paths': async () =>
    (await listGuests())
      .filter(({ use }) => use !== 'standby')
      .map(({ value, text }) => ({ value: `${value}:`, text })),
} satisfies Record<string, () => Promise<Candidate[]>>

async function listGuests() {
  const { findRunningGuests } = await import('../../vm/workspace/running-guests.js')
  return (await findRunningGuests()).map(({ name, image, use }) => ({
    value: name,
    text: `${image ?? 'no image'}, ${use}`,
    use,
  }))
}

/** Hidden names are those of locks, markers and unfinished downloads. */
function toEntries(names: readonly string[]): Candidate[] {
  return names.filter((name) => !name.startsWith('.')).map((value) => ({ value, text: '' }))
}

function pathOf(command: Command): string {
  return command.parent?.parent == null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}
