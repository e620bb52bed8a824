/** Takes what is said otherwise in the options. */
export type Note = (what: string, path: string, reason: string) => void
