package admin

type loginView struct {
	Title, Error, Next string
	Refresh            bool
}
