package conf

const defaultDir = `C:\ProgramData\portico`
