import { readFile, stat, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import type { BuildContext, Recipe } from '../../images/recipe.js'
import { hashFile } from '../cache/entry-manifest.js'
import { GIB, parseMemorySize } from '../common/units.js'
import { openDisk } from '../disk/backing-chain.js'
import { vmError } from '../errors.js'
import { ARCHITECTURES, describeArch, type GuestArch } from '../spec/architectures.js'
import type { BaseImage, DiskFormat } from '../spec/base-image.js'
import type { BuiltImage, ImageOptions, PreparationInputs } from '../spec/image-definition.js'

/** Increase when the stored description of an author's recipe changes. */
const REVISION = 1
const DESCRIPTION = 'image.json'

/** Stored result of the author's `build` function. */
interface Description extends Omit<BuiltImage, 'sshReady'> {
  readonly format: DiskFormat
  readonly sshReady?: { readonly source: string; readonly flags: string } | undefined
}

/** Returns a recipe that runs the author's `build` function. */
export function ownRecipe(
  name: string,
  build: NonNullable<ImageOptions['build']>,
  dependsOn: PreparationInputs | undefined,
): Recipe {
  return {
    name,
    // The author decides which architectures the disk supports.
    architectures: Object.keys(ARCHITECTURES) as GuestArch[],
    tools: [],
    readInputs: async () => ({ revision: REVISION, ...(await describeFunction(build, dependsOn)) }),
    build: (context) => runBuild(name, build, context),
    open: (dir, arch) => openBuilt(name, dir, arch),
  }
}

/** Returns everything that the result of a function depends on, as declared by its author. */
export async function describeFunction(
  run: (...args: never[]) => unknown,
  { inputs, files = [] }: PreparationInputs = {},
): Promise<{ readonly source: string; readonly inputs: unknown; readonly files: unknown }> {
  return {
    source: String(run),
    inputs,
    files: await Promise.all(files.map(async (file) => [file, await hashFile(file)])),
  }
}

async function runBuild(
  name: string,
  build: NonNullable<ImageOptions['build']>,
  context: BuildContext,
): Promise<void> {
  const { dir, signal } = context
  const built = await build(context)
  const files = [built?.disk, built?.kernel, built?.initrd].filter((file) => file !== undefined)
  if (typeof built?.disk !== 'string') throw invalidRecipeResultError(name, 'no `disk`')
  for (const file of files) {
    const isInside = !relative(dir, resolve(dir, file)).startsWith('..')
    const exists =
      isInside &&
      (await stat(join(dir, file)).then(
        (found) => found.isFile(),
        () => false,
      ))
    if (!exists) throw invalidRecipeResultError(name, `'${file}', which is not a file in that folder`)
  }
  const { format } = await openDisk({ path: join(dir, built.disk), name, backingFolders: [dir], signal })
  const { sshReady, ...rest } = built
  const description: Description = {
    ...rest,
    format,
    sshReady: sshReady && { source: sshReady.source, flags: sshReady.flags },
  }
  await writeFile(join(dir, DESCRIPTION), `${JSON.stringify(description)}\n`)
}

async function openBuilt(name: string, dir: string, arch: GuestArch): Promise<BaseImage> {
  const built = JSON.parse(await readFile(join(dir, DESCRIPTION), 'utf8')) as Description
  const { kernel, initrd, append = [], hostKeyFormat, sshReady } = built
  return {
    name,
    disk: { path: join(dir, built.disk), format: built.format },
    ...(kernel !== undefined && {
      directBoot: {
        kernel: join(dir, kernel),
        ...(initrd !== undefined && { initrd: join(dir, initrd) }),
        append,
      },
    }),
    traits: {
      sshUser: built.user ?? 'root',
      credentials: describeArch(arch).hasSmbios ? 'smbios' : 'none',
      // The content of the author's disk is unknown here.
      mayHaveCloudInit: true,
      ...(hostKeyFormat !== undefined && { hostKeyFormat }),
      hasAgent: built.hasAgent ?? false,
      bootTimeFactor: 1,
      ...(sshReady !== undefined && { sshReadyPattern: new RegExp(sshReady.source, sshReady.flags) }),
    },
    defaults: { memoryBytes: parseMemorySize(built.memory) ?? GIB, cpus: built.cpus ?? 1 },
  }
}

function invalidRecipeResultError(name: string, got: string) {
  return vmError('IMAGE_BUILD_FAILED', {
    summary: `The \`build\` function of the image ${name} returned an invalid result.`,
    expected: "`{ disk: 'FILE' }`, optionally with `kernel` and `initrd` (names of files in `dir`)",
    got,
    hint: 'Return the created files as paths relative to `dir`. See the example in docs/images.md.',
  })
}
