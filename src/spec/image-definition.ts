import type { Duration } from '../common/duration.js'
import type { MemorySize } from '../common/units.js'
import type { ImageSource } from './image-source.js'
import type { NetworkOptions } from './options/network.js'

/** A file to put into an image: its content or its path on the host, with optional permissions. */
export type ImageFile =
  | string
  | Uint8Array
  | {
      /** Content of the file. */
      readonly content: string | Uint8Array
      /** Permissions, as a number for chmod(2). @default 0o644 */
      readonly mode?: number | undefined
    }
  | {
      /** Path of the file on the host. */
      readonly path: string
      /** Permissions, as a number for chmod(2). @default those of the host file */
      readonly mode?: number | undefined
    }

/** Settings of the guest in which an image is prepared. */
export interface PreparationGuestOptions {
  /** RAM: MiB, or with a unit. @default the image's */
  readonly memory?: MemorySize | undefined
  /** Number of CPUs. @default the image's */
  readonly cpus?: number | undefined
  /** Network of the guest. Downloads require `internet: true`. @default restricted */
  readonly network?: Pick<NetworkOptions, 'internet'> | undefined
  /**
   * Limits of the start, of each command over SSH and of the shutdown. @default those of any guest
   */
  readonly timeouts?:
    | { readonly start?: Duration; readonly command?: Duration; readonly shutdown?: Duration }
    | undefined
}

/** A custom image: its base and the changes to it. */
export interface ImageOptions<VM = never> {
  /**
   * Name of the image, and default name of its guests: letters, digits, `.`, `_`, `-`, at most 60
   * characters.
   */
  readonly name: string
  /**
   * Base of the image: the name of a recipe, a path, a URL with its checksum, or another image.
   * @default 'debian'; none with `build`
   */
  readonly from?: ImageSource | PreparedSource | undefined
  /**
   * Codename of the Debian release, for `from: 'debian'`.
   * @default the host's release if it runs Debian, else 'bookworm'
   */
  readonly suite?: string | undefined
  /** Architecture, for `from: 'debian'`. Only amd64 is supported. @default 'amd64' */
  readonly arch?: 'amd64' | undefined
  /** Packages to install, for `from: 'debian'`. @default none */
  readonly packages?: readonly string[] | undefined
  /** Files to put into the image, owned by root, by absolute path. @default none */
  readonly files?: Readonly<Record<string, ImageFile>> | undefined
  /**
   * Shell commands to run in the image as root, after `files`, each with `/bin/sh -c`. For `from:
   * 'debian'`, each is a layer, and runs with internet access and without running services. For
   * other images, they run in one guest of the image.
   * @default none
   */
  readonly run?: readonly string[] | undefined
  /**
   * Function that changes a newly booted guest of the image, as the last step. After an orderly
   * shutdown, the guest's disk becomes the image. Running processes are not kept; for these, use
   * `PreparedImage.prepare()`.
   * @default none
   */
  readonly prepare?: ((vm: VM) => unknown) | undefined
  /** Settings of the guests in which `run` and `prepare` are executed. */
  readonly guest?: PreparationGuestOptions | undefined
  /** Custom recipe that builds the disk; replaces `from`. @default none */
  readonly build?: ((context: ImageBuild) => Promise<BuiltImage> | BuiltImage) | undefined
  /**
   * Inputs of `build` and `prepare` besides their source code. A change of an input rebuilds the
   * image.
   * @default none
   */
  readonly dependsOn?: PreparationInputs | undefined
}

/** Context of a recipe's `build` function. */
export interface ImageBuild {
  /** Empty folder for the files of the image. It is removed if the build fails. */
  readonly dir: string
  /** Aborts when no caller waits for the image any longer. */
  readonly signal?: AbortSignal | undefined
  /** Reports the current step of the build in a few words. */
  readonly report: (step: string) => void
}

/** Result of a recipe: files in its folder, and properties of their guests. */
export interface BuiltImage {
  /** Path of the disk within the folder, in any supported format such as raw or qcow2. */
  readonly disk: string
  /** Path of a kernel that QEMU loads directly. @default none: the disk's boot loader */
  readonly kernel?: string | undefined
  /** Path of the initial RAM file system for `kernel`. @default none */
  readonly initrd?: string | undefined
  /** Kernel arguments. @default none */
  readonly append?: readonly string[] | undefined
  /** User to log in as. @default 'root' */
  readonly user?: string | undefined
  /** If true, the image runs the QEMU guest agent. @default false */
  readonly hasAgent?: boolean | undefined
  /**
   * Format in which the guest accepts the run's SSH host key.
   * @default none: the guest has its own host key
   */
  readonly hostKeyFormat?: 'openssh' | 'dropbear' | undefined
  /**
   * Pattern on the serial console that shows that the SSH server listens.
   * @default none: the port is polled
   */
  readonly sshReady?: RegExp | undefined
  /** RAM of the guests: MiB, or with a unit. @default 1 GiB */
  readonly memory?: MemorySize | undefined
  /** Number of CPUs of the guests. @default 1 */
  readonly cpus?: number | undefined
}

/** A custom image, as defined by `defineImage()`. */
export class ImageDefinition {
  /** Options of `defineImage()`. */
  readonly options: ImageOptions

  /** @internal */
  constructor(options: ImageOptions) {
    this.options = options
  }
}

/** Inputs of a preparation besides its source code. */
export interface PreparationInputs {
  /** Values from outside of the function that it uses, serializable as JSON. @default none */
  readonly inputs?: unknown
  /** Paths of host files that the function reads, compared by content. @default none */
  readonly files?: readonly string[] | undefined
}

/** A preparation step: runs once in a guest, and clones start from the result. */
export interface Preparation extends PreparationInputs {
  readonly run: (vm: never) => unknown
}

/** An image with preparation steps. The public class `PreparedImage` extends it. */
export class PreparedSource {
  /** Base of the image. */
  readonly source: ImageSource | ImageDefinition
  /** Preparation steps, in order. */
  readonly steps: readonly Preparation[]

  /** @internal */
  constructor(source: ImageSource | ImageDefinition, steps: readonly Preparation[] = []) {
    this.source = source
    this.steps = steps
  }
}
