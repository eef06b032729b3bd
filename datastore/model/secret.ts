import { bool, object, opt, text } from './fields.ts';

/** Where a password is kept; resolved from the secrets directory, never stored in a resource. */
export interface SecretKeyRef {
  secretKeyRef: { name: string; key: string; optional?: boolean };
}

export const secretKeyRef = opt(
  object<SecretKeyRef>({
    secretKeyRef: object<SecretKeyRef['secretKeyRef']>({ name: text(), key: text(), optional: bool }),
  }),
);
