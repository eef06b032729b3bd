/** The longest TCP-MD5 key that the kernel takes, in bytes (linux/tcp.h, TCP_MD5SIG_MAXKEYLEN). */
export const MD5_KEY_MAX = 80;
