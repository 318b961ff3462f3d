/** Something that the caller can mend: an option, a file, a line of it. Printed as one sentence, without a stack. */
export class UsageError extends Error {}
